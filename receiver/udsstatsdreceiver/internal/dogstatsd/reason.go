package dogstatsd

import "iter"

// Reason is why something was lost, or how it was amended.
type Reason uint8

// The reasons. Each lost line counts once, under the first reason that was
// found; the others count once for each time they apply, and only for lines
// that are kept.
const (
	reasonNone Reason = iota

	// A metric is lost.
	NoName        // nothing before the first colon
	NoValue       // no colon, or nothing behind it but colons
	NoType        // no pipe, or nothing behind it
	UnknownType   // none of c g s h ms d
	BadValue      // one of the values is no number, or too large for one
	BadRate       // the rate is no number
	BadTimestamp  // no whole number of seconds above 0
	TimestampType // a timestamp on a set, histogram, timer or distribution

	// An event is lost.
	EventHeader  // the lengths cannot be read
	EventLength  // the line is shorter than they say
	EventNoTitle // the title is empty

	// A service check is lost.
	CheckNoName    // the name is empty
	CheckBadStatus // none of 0 1 2 3

	// A line of any kind is lost.
	LineTooLong  // longer than MaxLine
	NameTooLong  // a name longer than MaxName
	TooManyTags  // more than MaxTags
	Truncated    // the kernel cut the packet: its last line and an unknown rest
	Unterminated // no newline behind the last line where one is required

	// A value is lost, and its line if it was the only one.
	NotANumber // NaN or infinite; one for each value

	// A stream ends.
	FrameEmpty   // a frame of length 0
	FrameTooLong // a frame longer than MaxFrame
	FramePartial // the peer left in the middle of a frame

	// A line is amended and kept.
	RateClamped   // a rate that is NaN or outside (0, 1] became 1
	UnknownField  // a field of a newer protocol was skipped
	EventBadField // unreadable metadata of an event was skipped
	CheckBadField // an unreadable timestamp of a service check was skipped

	// A line is amended by who uses it: the functions named here only tell.
	BadText         // Clean or CleanText had to change something
	BadLocalData    // ParseLocalData found an inode that is no number
	BadExternalData // ParseExternalData found something unknown
	BadCardinality  // ParseCardinality does not know the word

	reasonEnd
)

// String is the name of the reason in lower case, fit to be an attribute.
func (r Reason) String() string {
	if name := reasonNames[min(r, reasonEnd)]; name != "" {
		return name
	}
	return "unknown"
}

var reasonNames = [reasonEnd + 1]string{
	NoName:          "no_name",
	NoValue:         "no_value",
	NoType:          "no_type",
	UnknownType:     "unknown_type",
	BadValue:        "bad_value",
	BadRate:         "bad_rate",
	BadTimestamp:    "bad_timestamp",
	TimestampType:   "timestamp_type",
	EventHeader:     "event_header",
	EventLength:     "event_length",
	EventNoTitle:    "event_no_title",
	CheckNoName:     "check_no_name",
	CheckBadStatus:  "check_bad_status",
	LineTooLong:     "line_too_long",
	NameTooLong:     "name_too_long",
	TooManyTags:     "too_many_tags",
	Truncated:       "truncated",
	Unterminated:    "unterminated",
	NotANumber:      "not_a_number",
	FrameEmpty:      "frame_empty",
	FrameTooLong:    "frame_too_long",
	FramePartial:    "frame_partial",
	RateClamped:     "rate_clamped",
	UnknownField:    "unknown_field",
	EventBadField:   "event_bad_field",
	CheckBadField:   "check_bad_field",
	BadText:         "bad_text",
	BadLocalData:    "bad_local_data",
	BadExternalData: "bad_external_data",
	BadCardinality:  "bad_cardinality",
}

// Loses tells whether data was lost, rather than amended and kept.
func (r Reason) Loses() bool { return r > reasonNone && r < RateClamped }

// Reasons returns all reasons.
func Reasons() iter.Seq[Reason] {
	return func(yield func(Reason) bool) {
		for r := reasonNone + 1; r < reasonEnd && yield(r); r++ {
		}
	}
}

// Counts is how often each reason was met. The zero value is empty. It is for
// one goroutine at a time.
type Counts struct {
	of [reasonEnd]uint64
	// any spares the many packets without a problem a look at all of them.
	any bool
}

// Add counts n more of a reason.
func (c *Counts) Add(r Reason, n uint64) {
	c.of[r] += n
	c.any = c.any || n > 0
}

// Of returns how often a reason was met.
func (c *Counts) Of(r Reason) uint64 { return c.of[r] }

// Empty tells whether nothing was counted. It costs one comparison.
func (c *Counts) Empty() bool { return !c.any }

// MoveTo adds everything to another Counts and empties this one. Receivers do
// so after each packet, to count against its sender.
func (c *Counts) MoveTo(to *Counts) {
	if !c.any {
		return
	}
	for r, n := range c.of {
		to.of[r] += n
	}
	to.any = true
	*c = Counts{}
}

// All returns the reasons that were met, with how often.
func (c *Counts) All() iter.Seq2[Reason, uint64] {
	return func(yield func(Reason, uint64) bool) {
		for r, n := range c.of {
			if n > 0 && !yield(Reason(r), n) {
				return
			}
		}
	}
}
