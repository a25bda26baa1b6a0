package udsstatsdreceiver

import (
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/origin"
)

const (
	// maxRecords bounds the events and checks that wait to be handed on. They are
	// rare; each is 8 KiB at most.
	maxRecords = 4096
	// maxOriginRecords is how many of them one sender may have waiting.
	maxOriginRecords = maxRecords / 8
)

// record is an event or a service check, copied out of its datagram.
type record struct {
	origin *origin.Origin
	at     time.Time // of the sender, or else of the arrival
	seen   time.Time
	isTold bool // the sender gave the time
	tags   []tag
	host   string

	// Of an event:
	title, text, aggregationKey, sourceType string
	alert                                   dogstatsd.Alert
	priority                                dogstatsd.Priority
	// Of a check:
	check   string
	status  dogstatsd.Status
	message string
}

type tag struct{ key, value string }

// records keeps them until they are taken. It is safe for concurrent use.
type records struct {
	on   bool // somebody takes them
	wake chan struct{}
	now  func() time.Time

	mu      sync.Mutex // guards what follows
	waiting []record
	share   map[*origin.Origin]int // of waiting, by who pays
}

func newRecords(now func() time.Time) *records {
	return &records{wake: make(chan struct{}, 1), now: now, share: map[*origin.Origin]int{}}
}

func (r *records) event(to *account, e *dogstatsd.Event) {
	if !r.on {
		to.dropped.add("no_logs_pipeline", 1)
		return
	}
	if !r.hasRoom(to) {
		return
	}
	record := r.begin(to, &e.Common)
	record.title, record.text = clean(e.Title), clean(e.Text)
	record.aggregationKey, record.sourceType = clean(e.AggregationKey), clean(e.SourceType)
	record.alert, record.priority = e.Alert, e.Priority
	r.add(record)
}

func (r *records) check(to *account, c *dogstatsd.ServiceCheck) {
	if !r.on || !r.hasRoom(to) { // without a record there is the gauge
		return
	}
	record := r.begin(to, &c.Common)
	record.check, record.status, record.message = clean(c.Name), c.Status, clean(c.Message)
	r.add(record)
}

// hasRoom comes before the work of copying, and counts what is dropped.
func (r *records) hasRoom(to *account) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) >= maxRecords || r.share[to.origin.Payer()] >= maxOriginRecords {
		to.dropped.add("record_queue", 1)
		return false
	}
	return true
}

func (r *records) begin(to *account, c *dogstatsd.Common) record {
	record := record{origin: to.origin, seen: r.now(), host: clean(c.Host)}
	record.at = record.seen
	if c.Timestamp > 0 {
		record.at, record.isTold = time.Unix(c.Timestamp, 0), true
	}
	for t := range dogstatsd.Tags(c.Tags) {
		switch t.Pseudo {
		case dogstatsd.PseudoHost:
			record.host = clean(t.Value)
		case dogstatsd.NotPseudo:
			record.tags = append(record.tags, tag{clean(t.Key), clean(t.Value)})
		}
	}
	return record
}

func clean(text []byte) string {
	s, _ := dogstatsd.CleanText(text)
	return s
}

func (r *records) add(one record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, one)
	r.share[one.origin.Payer()]++
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take returns those whose origin is settled, and keeps the others, if there are any.
func (r *records) take(settle func(*origin.Origin) (*origin.Origin, bool)) (taken []record, isLeft bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var kept []record
	clear(r.share)
	for _, one := range r.waiting {
		final, ok := settle(one.origin)
		if !ok {
			kept = append(kept, one)
			r.share[one.origin.Payer()]++
			continue
		}
		one.origin = final
		taken = append(taken, one)
	}
	r.waiting = kept
	return taken, len(kept) > 0
}
