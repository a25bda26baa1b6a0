package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// warmWithin is the start of a program on a small machine and two passes of
// the slowest row, which come every 10 s.
const warmWithin = 90 * time.Second

var (
	errNotWarm = errors.New("not exactly these containers are read in each pass")
	errStatus  = errors.New("unexpected status")
)

// meter asks a running program, by the pages it has anyway, how far it is. One
// is made for each start.
type meter interface {
	// warm returns nil once all n containers, and no others, are read pass after
	// pass.
	warm(ctx context.Context, n int) error
	// mark begins the count of passes.
	mark(ctx context.Context) error
	// passes is how often each of the n containers has been read since mark, per
	// minute.
	passes(ctx context.Context, n int) (float64, error)
}

// get reads a page. The body is unpacked where the server packs it, as a
// Prometheus server has it too.
func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", url, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err // it names the page
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read %s: %w: %s: %.200s", url, errStatus, response.Status, body)
	}
	return body, nil
}

// scraped follows a Collector's count of metric points, which grows once with
// each pass of a receiver. Idle containers give the same number of points every
// time, so two equal steps in a row are two whole passes: with the first one a
// receiver may find only part of the containers, and on a busy machine two
// passes may be seen as one.
type scraped struct {
	page     string
	receiver string
	gauges   []string // of the page; each must be the number of containers
	each     int      // points that a container gives in a pass, 0: to be found out

	points float64 // in all
	step   float64 // the last growth
	pass   float64 // a growth seen twice in a row
	since  time.Time
	marked float64 // points at that time
}

// oursMeter is for our binary, which tells how many containers it sees.
func oursMeter(gauges ...string) func(setting) meter {
	return func(setting) meter {
		return &scraped{page: collectorPage, receiver: "cgroup", gauges: gauges}
	}
}

// dockerStatsMeter knows what docker_stats gives an idle container in a pass:
// 8 points, and 4 for a network interface (seen with release 0.149). It does
// not tell how many containers it sees, and a pass is not whole when the engine
// does not answer in time.
func dockerStatsMeter(s setting) meter {
	each := 8
	if s.network == "bridge" {
		each += 4
	}
	return &scraped{page: collectorPage, receiver: "docker_stats", each: each}
}

func (s *scraped) warm(ctx context.Context, n int) error {
	if err := s.read(ctx, n); err != nil {
		return err
	}
	if s.each > 0 {
		s.pass = float64(s.each * n)
	}
	if s.pass == 0 || s.points < wholePasses*s.pass {
		return fmt.Errorf("%w: %v points in all, %v of them in the last pass", errNotWarm, s.points, s.step)
	}
	return nil
}

func (s *scraped) mark(ctx context.Context) error {
	err := s.read(ctx, 0)
	s.since, s.marked = time.Now(), s.points
	return err
}

func (s *scraped) passes(ctx context.Context, n int) (float64, error) {
	err := s.read(ctx, n)
	return (s.points - s.marked) / s.pass / time.Since(s.since).Minutes(), err
}

// read takes in the page. With n containers expected all gauges must say so.
func (s *scraped) read(ctx context.Context, n int) error {
	body, err := get(ctx, s.page)
	if err != nil {
		return err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("parse %s: %w", s.page, err)
	}
	s.take(sum(families[pointsCounter], "receiver", s.receiver))
	for _, name := range s.gauges {
		if got := sum(families[name], "", ""); n > 0 && int(got) != n {
			s.pass, s.step = 0, 0 // they were passes over others
			return fmt.Errorf("%w: %s is %v, not %d", errNotWarm, name, got, n)
		}
	}
	return nil
}

// wholePasses is how many passes are waited for: the first one is often only a
// part.
const wholePasses = 2

// pointsCounter counts what a receiver has handed on since its start.
const pointsCounter = "otelcol_receiver_accepted_metric_points"

func (s *scraped) take(points float64) {
	step := points - s.points
	s.points = points
	if step <= 0 {
		return
	}
	if step == s.step && s.each == 0 {
		s.pass = step
	}
	s.step = step
}

// sum adds up the metrics of a family that have the label.
func sum(family *dto.MetricFamily, name, value string) float64 {
	var total float64
	for _, m := range family.GetMetric() {
		has := func(l *dto.LabelPair) bool { return l.GetName() == name && l.GetValue() == value }
		if name == "" || slices.ContainsFunc(m.GetLabel(), has) {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return total
}

// sampled asks our build of cAdvisor how many samples of each container are in
// its memory (cadvisor/samples.go).
type sampled struct {
	page  string
	since time.Time
}

func cadvisorMeter(setting) meter { return &sampled{page: "http://" + cadvisorAddress + "/samples"} }

// keptSpan is in memory for certain: cAdvisor keeps two minutes.
const keptSpan = 110 * time.Second

// warmSpan holds two passes for certain: cAdvisor lets up to two intervals of
// 1 s go by between them, and on a busy machine more.
const warmSpan = 10 * time.Second

func (s *sampled) warm(ctx context.Context, n int) error {
	counts, err := s.read(ctx, n, warmSpan)
	if err != nil {
		return err
	}
	for id, count := range counts {
		if count < wholePasses {
			return fmt.Errorf("%w: %d samples of %.12s in %v", errNotWarm, count, id, warmSpan)
		}
	}
	return nil
}

func (s *sampled) mark(context.Context) error {
	s.since = time.Now()
	return nil
}

func (s *sampled) passes(ctx context.Context, n int) (float64, error) {
	span := min(time.Since(s.since), keptSpan)
	counts, err := s.read(ctx, n, span)
	var total float64
	for _, count := range counts {
		total += float64(count)
	}
	return total / float64(n) / span.Minutes(), err
}

func (s *sampled) read(ctx context.Context, n int, span time.Duration) (map[string]int, error) {
	body, err := get(ctx, s.page+"?last="+span.String())
	if err != nil {
		return nil, err
	}
	var counts map[string]int
	if err := json.Unmarshal(body, &counts); err != nil {
		return nil, fmt.Errorf("parse %s: %w", s.page, err)
	}
	if len(counts) != n {
		return nil, fmt.Errorf("%w: it sees %d containers, not %d", errNotWarm, len(counts), n)
	}
	return counts, nil
}
