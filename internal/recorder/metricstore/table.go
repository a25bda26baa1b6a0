package metricstore

import (
	"time"

	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

const (
	// expireAfter is how long a series may be silent before the table forgets
	// it: about as long as the head remembers it.
	expireAfter = 15 * time.Minute
	// sweepEvery is how often the table looks for those: a walk over everything.
	sweepEvery = 5 * time.Minute
	// maxLabelBytes bounds names and values of one series together. Longest
	// seen in the field: 1 kB (image references, URLs as custom tags).
	maxLabelBytes = 8 << 10
	// maxFamilies bounds what is told about metrics by name.
	maxFamilies = 10_000
)

// table knows what series a point of OTLP is. One map leads to the resource and
// one of its own from there to the point, because a key of all that a point has
// would be ten times as long to hash. They are hardly asked, see steps. The table
// belongs to the write path.
type table struct {
	perAccount, total int // bounds of series, see Options; below 0: none
	resources         map[string]*resource
	accounts          map[string]*account
	series            map[labels.Labels]*series
	families          map[string]Family
	namer             otlptranslator.MetricNamer
	labelNamer        otlptranslator.LabelNamer
	key               []byte            // scratch: of the attributes of the present point
	texts             map[string]string // keys, emptied by sweep
	bounds            []float64         // scratch
	now               int64             // milliseconds, of the present write
	nextSweep         int64
}

// resource is one identity as resource attributes tell it.
type resource struct {
	identity identity
	account  *account
	points   map[pointKey]*point
	steps    steps
	left     int64 // when another identity took a series over, milliseconds; 0: never
	apart    bool  // it goes on beside the others of its container
}

// account is who answers for a number of series: a container, or a service
// outside of containers.
type account struct {
	series     map[*series]struct{}
	points     int
	bound      int         // of series; below 0: none
	last       int64       // time of the newest sample, milliseconds
	identities []*resource // of a container, see succeed
}

// pointKey tells a point from all others of its resource, in words of OTLP.
type pointKey struct {
	name, unit string // of the metric
	attributes string // see appendAttributes
	kind       pmetric.MetricType
}

// point is one set of attributes: the series that a data point becomes. The
// last ones of a histogram or summary are those of sum and count.
type point struct {
	series []*series
	bounds []float64 // or quantiles; nil for numbers
	seen   int64
	place  int // among the steps of its resource; 0: none
}

// series is one series of the TSDB. Two points whose attributes differ in their
// order only share it.
type series struct {
	labels labels.Labels
	ref    storage.SeriesRef
	owner  *account
	seen   int64
	last   int64                     // newest delta that was added up, milliseconds
	total  float64                   // of what came with delta temporality
	hist   *histogram.FloatHistogram // the same for exponential histograms
}

// Family says what the samples of a metric name mean.
type Family struct {
	Type, Unit, Help string
}

func newTable(o Options) *table {
	return &table{
		perAccount: o.SeriesPerContainer,
		total:      o.MaxSeries,
		resources:  map[string]*resource{},
		accounts:   map[string]*account{},
		series:     map[labels.Labels]*series{},
		families:   map[string]Family{},
		texts:      map[string]string{},
		namer:      otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes),
	}
}

// forgetRefs makes all series look themselves up again: their references are
// those of another TSDB, and their times may be those of another clock.
func (t *table) forgetRefs() {
	for _, s := range t.series {
		s.ref, s.last = 0, 0
	}
	for _, a := range t.accounts {
		a.last = 0
	}
	for _, r := range t.resources {
		r.steps.forgetRefs()
	}
}

// hasRoom tells whether an account may have n more series.
func (t *table) hasRoom(a *account, n int) bool {
	if a.bound >= 0 && (len(a.series)+n > a.bound || a.points >= 2*a.bound) {
		return false
	}
	return t.total < 0 || len(t.series)+n <= t.total
}

// account returns the account that answers for an identity.
func (t *table) account(id *identity) *account {
	name := id.account()
	a := t.accounts[name]
	if a == nil {
		a = &account{series: map[*series]struct{}{}, bound: t.perAccount}
		if id.isHost() {
			a.bound *= hostShare
		}
		t.accounts[name] = a
	}
	return a
}

// intern returns the series with these labels.
func (t *table) intern(lset labels.Labels, owner *account) *series {
	s := t.series[lset]
	if s == nil {
		s = &series{labels: lset, owner: owner}
		t.series[lset] = s
		owner.series[s] = struct{}{}
	}
	s.seen = t.now
	return s
}

// text returns the key as a string. Containers of one kind have the same
// attributes, so that most are shared.
func (t *table) text() string {
	text, ok := t.texts[string(t.key)]
	if !ok {
		text = string(t.key)
		t.texts[text] = text
	}
	return text
}

func (t *table) dropSeries(s *series) {
	delete(t.series, s.labels)
	delete(s.owner.series, s)
}

// end forgets an account and returns its series, and the time of its last sample.
func (t *table) end(name string) (list []*series, last int64) {
	a := t.accounts[name]
	if a == nil {
		return nil, 0
	}
	delete(t.accounts, name)
	for key, r := range t.resources {
		if r.account == a {
			delete(t.resources, key)
		}
	}
	for s := range a.series {
		list = append(list, s)
		t.dropSeries(s)
	}
	return list, a.last
}

// sweep forgets what was silent for long.
func (t *table) sweep(now int64) {
	if now < t.nextSweep && t.nextSweep-now <= sweepEvery.Milliseconds() {
		return
	}
	t.nextSweep = now + sweepEvery.Milliseconds()
	clear(t.texts)
	oldest := now - expireAfter.Milliseconds()
	// A time after now is of a clock that was set back since.
	isSilent := func(seen int64) bool { return seen < oldest || seen > now }
	for key, r := range t.resources {
		r.sweep(isSilent)
		if len(r.points) == 0 {
			delete(t.resources, key)
			r.account.leave(r)
		}
	}
	for _, s := range t.series {
		if isSilent(s.seen) {
			t.dropSeries(s)
		}
	}
	for name, a := range t.accounts {
		if len(a.series) == 0 && a.points == 0 {
			delete(t.accounts, name)
		}
	}
}

func (r *resource) sweep(isSilent func(seen int64) bool) {
	r.steps.settle()
	for key, p := range r.points {
		if isSilent(p.seen) {
			delete(r.points, key)
			r.account.points--
			r.steps.forget(p)
			continue
		}
		for _, s := range p.series {
			s.seen = p.seen
		}
	}
	r.steps.close()
}
