package dogstatsd

import (
	"bytes"
	"iter"
)

// The largest line that is taken. They bound what one line may cost.
const (
	// MaxLine is in bytes, without the end of the line. The Datadog Agent reads
	// packets of 8,192 bytes by default, so that clients send none that are larger.
	MaxLine = 8192
	// MaxName is in bytes, for metrics and service checks. Datadog's
	// documentation allows names of 200 characters.
	MaxName = 200
	// MaxTags is the number of tags that are not empty. The protocol has no
	// limit; this one is chosen, not measured, and bounds what a context costs.
	MaxTags = 100
)

// Kind is what a line is.
type Kind uint8

// The kinds of lines.
const (
	// KindRejected is a line that was lost: see [Parser.Rejected].
	KindRejected Kind = iota
	// KindMetric is a line that is in [Parser.Sample].
	KindMetric
	// KindEvent is a line that is in [Parser.Event].
	KindEvent
	// KindCheck is a line that is in [Parser.Check].
	KindCheck
	// kindNone is an empty line, which is none.
	kindNone
)

// Parser splits packets into lines and reads them. The zero value is ready. It
// is for one goroutine at a time.
type Parser struct {
	// RequireNewline drops what stands behind the last newline of a packet, for
	// transports whose clients are known to end every line.
	RequireNewline bool
	// Counts is what the parser had to drop or amend since it was last emptied.
	Counts Counts

	sample Sample
	// isRich says that the sample may have more than a name, a type, one number and
	// tags, so that it is to be emptied first.
	isRich bool
	// pipe is where the first pipe in the rest of the packet is, or the length at
	// least if there is none. It is negative where that is not known.
	pipe int

	event Event
	check ServiceCheck

	rejected []byte
	reason   Reason

	// text is where the texts of an event or check are unescaped.
	text []byte
}

// Lines reads the lines of a packet, one for each round of the loop:
//
//	for kind := range p.Lines(packet, truncated) {
//		switch kind {
//		case dogstatsd.KindMetric:
//			use(p.Sample())
//
// truncated says that the kernel had more than the buffer could take
// (MSG_TRUNC): then what stands behind the last newline is dropped.
func (p *Parser) Lines(packet []byte, truncated bool) iter.Seq[Kind] {
	// This is inlined into the caller, and the body of the caller's loop into this.
	return func(yield func(Kind) bool) {
		kind, rest := kindNone, p.begin(packet, truncated)
		for len(rest) > 0 {
			if kind, rest = p.next(rest); kind != kindNone && !yield(kind) {
				return
			}
		}
	}
}

// Sample is the metric that was read last. It is valid until the next line.
func (p *Parser) Sample() *Sample { return &p.sample }

// Event is the event that was read last. It is valid until the next line.
func (p *Parser) Event() *Event { return &p.event }

// Check is the service check that was read last. It is valid until the next line.
func (p *Parser) Check() *ServiceCheck { return &p.check }

// Rejected is the line that was rejected last, as sent, and why. The text is
// valid until the next line.
func (p *Parser) Rejected() ([]byte, Reason) { return p.rejected, p.reason }

// begin prepares for a packet, and cuts off a last line that cannot be trusted to
// be all there.
func (p *Parser) begin(packet []byte, truncated bool) []byte {
	p.pipe = -1
	if !truncated && !p.RequireNewline {
		return packet
	}
	return p.cut(packet, truncated)
}

func (p *Parser) cut(packet []byte, truncated bool) []byte {
	end := bytes.LastIndexByte(packet, '\n') + 1
	switch {
	case truncated:
		p.Counts.Add(Truncated, 1)
	case end < len(packet):
		p.Counts.Add(Unterminated, 1)
	}
	return packet[:end]
}

// nextAny reads any line.
func (p *Parser) nextAny(line []byte) Kind {
	p.pipe = -1
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if len(line) == 0 {
		return kindNone
	}
	kind, reason := KindMetric, reasonNone
	switch {
	case len(line) > MaxLine:
		reason = LineTooLong
	case bytes.HasPrefix(line, []byte(eventStart)):
		kind, reason = KindEvent, p.readEvent(line)
	case bytes.HasPrefix(line, []byte(checkStart)):
		kind, reason = KindCheck, p.readCheck(line)
	default:
		reason = p.readMetric(line)
	}
	return p.result(line, kind, reason)
}

// result is the kind of a line that was read, or that was lost for a reason.
func (p *Parser) result(line []byte, kind Kind, reason Reason) Kind {
	if reason == reasonNone {
		return kind
	}
	p.rejected, p.reason = line, reason
	p.Counts.Add(reason, 1)
	return KindRejected
}

// field cuts the first field off what stands behind a pipe.
func field(rest []byte) (first, others []byte) {
	if pipe := bytes.IndexByte(rest, '|'); pipe >= 0 {
		return rest[:pipe], rest[pipe+1:]
	}
	return rest, nil
}

// mayBeTooMany tells whether the text is long enough for more than MaxTags, each
// but the last with a comma. It spares nearly all lines the counting.
func mayBeTooMany(tags []byte) bool { return len(tags) > 2*MaxTags }

// tooMany tells whether there are more than MaxTags.
func tooMany(tags []byte) bool {
	if !mayBeTooMany(tags) {
		return false
	}
	n := 0
	for range Tags(tags) {
		n++
	}
	return n > MaxTags
}
