package dogstatsd

import "bytes"

const eventStart = "_e{"

// Event is one line that is an event. Its slices are valid until the next line
// is parsed.
type Event struct {
	Common
	// Title is not empty. Title and Text have their newlines back.
	Title, Text []byte
	// AggregationKey and SourceType are the texts behind k: and s:.
	AggregationKey, SourceType []byte
	Alert                      Alert
	Priority                   Priority
}

// Alert is how bad an event is.
type Alert uint8

// The alert types. Info is that of events without one.
const (
	Info Alert = iota
	Success
	Warning
	Error
)

// String is the word of the protocol.
func (a Alert) String() string { return alertNames[min(int(a), len(alertNames)-1)] }

var alertNames = [...]string{Info: "info", Success: "success", Warning: "warning", Error: "error", Error + 1: "unknown"}

// Priority is how much an event matters.
type Priority uint8

// The priorities. Normal is that of events without one.
const (
	Normal Priority = iota
	Low
)

// String is the word of the protocol.
func (p Priority) String() string { return priorityNames[min(int(p), len(priorityNames)-1)] }

var priorityNames = [...]string{Normal: "normal", Low: "low", Low + 1: "unknown"}

// readEvent reads a line into p.event. On a Reason the event is worthless.
//
//	"_e{" titleBytes "," textBytes "}:" title "|" text *("|" field)
//
// The lengths rule over pipes. As in the Datadog Agent neither the brace nor
// the byte between title and text is looked at.
func (p *Parser) readEvent(line []byte) Reason {
	colon := bytes.IndexByte(line, ':')
	// Without its brace the header ends one byte before the colon.
	if colon <= len(eventStart) {
		return EventHeader
	}
	rest := line[colon+1:]
	title, text, ok := eventLengths(line[len(eventStart) : colon-1])
	switch {
	case !ok:
		return EventHeader
	case title == 0:
		return EventNoTitle
	case title >= int64(len(rest)) || text > int64(len(rest))-title-1: // no sum that could overflow
		return EventLength
	}
	p.text = p.text[:0]
	p.event = Event{
		Title: p.unescape(rest[:title], false),
		Text:  p.unescape(rest[title+1:title+1+text], false),
	}
	// What stands between the text and the next pipe belongs to nothing.
	excess, fields := field(rest[title+1+text:])
	bad, unknown := p.event.readFields(fields)
	if tooMany(p.event.Tags) {
		return TooManyTags
	}
	if len(excess) > 0 {
		unknown++
	}
	p.countFields(EventBadField, bad, unknown)
	return reasonNone
}

func eventLengths(header []byte) (title, text int64, ok bool) {
	before, after, ok := bytes.Cut(header, []byte(","))
	if !ok {
		return 0, 0, false
	}
	title, okTitle := parseInt(before)
	text, okText := parseInt(after)
	return title, text, okTitle && okText && title >= 0 && text >= 0
}

func (e *Event) readFields(rest []byte) (bad, unknown int) {
	for len(rest) > 0 {
		var text []byte
		if text, rest = field(rest); len(text) == 0 {
			continue
		}
		state := e.set(text)
		if state == fieldUnknown {
			state = e.setOwn(text)
		}
		switch state {
		case fieldBad:
			bad++
		case fieldUnknown:
			unknown++
		}
	}
	return bad, unknown
}

// setOwn takes a field that only events have.
func (e *Event) setOwn(text []byte) fieldState {
	switch key, value := fieldKey(text); key {
	case 'k':
		e.AggregationKey = value
	case 's':
		e.SourceType = value
	case 'p':
		for priority := Normal; priority <= Low; priority++ {
			if string(value) == priority.String() {
				e.Priority = priority
				return fieldTaken
			}
		}
		return fieldBad
	case 't':
		for alert := Info; alert <= Error; alert++ {
			if string(value) == alert.String() {
				e.Alert = alert
				return fieldTaken
			}
		}
		return fieldBad
	default:
		return fieldUnknown
	}
	return fieldTaken
}

// countFields counts the fields of a line that is kept.
func (p *Parser) countFields(reason Reason, bad, unknown int) {
	if bad+unknown > 0 {
		p.Counts.Add(reason, uint64(bad))
		p.Counts.Add(UnknownField, uint64(unknown))
	}
}
