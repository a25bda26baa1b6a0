package udsstatsdreceiver

import (
	"bytes"
	"time"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/limit"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/origin"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/transport"
)

// ownNames begins the names of metrics that this receiver makes up.
const ownNames = "dogstatsd."

// intake takes what comes over one socket, or one connection. It is for one
// goroutine, and a [transport.Reader].
type intake struct {
	s       *server
	parser  dogstatsd.Parser
	senders *origin.Senders // nil without origin detection
	from    []*origin.Origin
	asked   time.Duration // on origin.Clock, the last look at the queue
	empty   time.Duration // likewise, the last at an empty one
	now     time.Duration // likewise, of what is being taken
	tags    []byte        // of service checks, used again
}

// Ask implements [transport.Reader].
func (in *intake) Ask() {
	if in.senders != nil {
		in.asked = origin.Clock()
	}
}

// Drained implements [transport.Reader]: whoever sends from now on is younger.
func (in *intake) Drained() {
	if in.senders != nil {
		in.senders.Empty(in.asked)
		in.empty = in.asked
	}
}

// Take implements [transport.Reader]. First it finds out who sent, then, under one
// lock, it adds up what was sent.
func (in *intake) Take(batch []transport.Datagram) {
	in.from = in.from[:0]
	if in.senders != nil {
		in.senders.Begin()
	}
	for i := range batch {
		o := in.s.nobody
		if in.senders != nil {
			o = in.senders.Resolve(origin.Sender{PID: batch[i].PID, PIDFD: batch[i].PidFD})
		}
		in.from = append(in.from, o)
	}
	in.s.table.Lock()
	defer in.s.table.Unlock()
	in.now = origin.Clock()
	for i := range batch {
		in.admit(in.from[i], batch[i].Payload, batch[i].Truncated)
	}
}

// frame takes one frame of a connection, whose peer is known.
func (in *intake) frame(from *origin.Origin, payload []byte) {
	in.s.table.Lock()
	defer in.s.table.Unlock()
	in.now = origin.Clock()
	in.admit(from, payload, false)
}

// admit takes a packet that is within the limits. The table is locked.
func (in *intake) admit(from *origin.Origin, payload []byte, truncated bool) {
	a := in.s.book.account(from)
	a.packets++
	n := lines(payload)
	if verdict := in.s.limiter.Allow(from.Payer(), in.now, n); verdict != limit.Pass {
		a.dropped.add(verdict.String(), uint64(n))
		return
	}
	in.packet(a, payload, truncated)
}

// lines counts messages. The official Go client ends each with a line feed,
// others put one between two.
func lines(payload []byte) int {
	n := bytes.Count(payload, newline)
	if len(payload) > 0 && payload[len(payload)-1] != '\n' {
		n++
	}
	return n
}

var newline = []byte("\n")

// packet parses and adds up. The table is locked.
func (in *intake) packet(a *account, payload []byte, truncated bool) {
	for kind := range in.parser.Lines(payload, truncated) {
		switch kind {
		case dogstatsd.KindMetric:
			in.metric(a)
		case dogstatsd.KindEvent:
			event := in.parser.Event()
			to := in.owner(a, event.LocalData, event.ExternalData)
			to.messages++
			in.s.records.event(to, event)
		case dogstatsd.KindCheck:
			in.check(a)
		}
	}
	if !in.parser.Counts.Empty() {
		in.parser.Counts.MoveTo(&a.parse)
	}
}

func (in *intake) metric(a *account) {
	sample := in.parser.Sample()
	to := in.owner(a, sample.LocalData, sample.ExternalData)
	to.messages++
	if bytes.HasPrefix(sample.Name, clientNames) {
		to.told(sample)
	}
	if in.s.inSeconds && sample.Type == dogstatsd.Timer {
		for i := range sample.Values {
			sample.Values[i] /= 1000
		}
	}
	in.add(to, sample)
}

// add adds up, if anybody is going to be told.
func (in *intake) add(to *account, sample *dogstatsd.Sample) {
	if !in.s.adds {
		to.dropped.add("no_metrics_pipeline", 1)
		return
	}
	in.s.table.Add(to.id, sample)
}

// owner is whose a line is: the sender, unless its own word counts.
func (in *intake) owner(a *account, local, external []byte) *account {
	if in.s.claims == nil || len(local)+len(external) == 0 {
		return a
	}
	if o := in.s.claims.Claim(in.now, a.origin, local, external); o != a.origin {
		return in.s.book.claim(a, o)
	}
	return a
}

// check is a record, and a gauge with the check's name as a tag.
func (in *intake) check(a *account) {
	check := in.parser.Check()
	to := in.owner(a, check.LocalData, check.ExternalData)
	to.messages++
	in.s.records.check(to, check)
	in.tags = append(append(in.tags[:0], checkName...), ':')
	for _, c := range check.Name {
		if c == ',' { // it would end the tag
			c = '_'
		}
		in.tags = append(in.tags, c)
	}
	for t := range dogstatsd.Tags(check.Tags) {
		if t.Pseudo != dogstatsd.NotPseudo || bytes.Equal(t.Key, checkName) {
			continue
		}
		in.tags = append(append(append(append(in.tags, ','), t.Key...), ':'), t.Value...)
	}
	status := [1]float64{float64(check.Status)}
	in.add(to, &dogstatsd.Sample{
		Name: checkGauge, Type: dogstatsd.Gauge, Values: status[:], Rate: 1, Tags: in.tags,
	})
}

var (
	checkGauge = []byte(ownNames + "service_check")
	checkName  = []byte(ownNames + "check.name")
)
