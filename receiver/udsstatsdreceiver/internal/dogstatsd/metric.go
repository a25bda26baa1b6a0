package dogstatsd

import (
	"bytes"
	"math"
)

// next reads the first line of a packet, and returns what stands behind it.
//
//	name ":" value *(":" value) "|" type *("|" field)
//
// Nearly all lines are metrics with one decimal, and tags as their first or only
// field. They are read here, in one function on purpose: two more calls for each
// line cost 3 ns of 28 (BenchmarkParse). All else is read elsewhere.
func (p *Parser) next(packet []byte) (kind Kind, rest []byte) {
	line := packet
	if end := bytes.IndexByte(packet, '\n'); end >= 0 {
		line, rest = packet[:end], packet[end+1:]
	}
	pipe := p.firstPipe(packet)
	if isOdd(line, pipe) {
		return p.nextAny(line), rest
	}
	colon := bytes.IndexByte(line[:pipe], ':')
	number, isNumber := lastDecimal(line[:pipe], colon+1)
	typ, at := plainType(line, pipe+1)
	if !endsName(colon) || typ == 0 {
		return p.nextAny(line), rest
	}
	valueEnd := pipe
	var tags []byte
	if at+1 < len(line) && line[at+1] == '#' {
		start := at + 2
		// This search does not stop at the end of the line: what it finds there is the
		// first pipe of the next one.
		pipe = len(packet)
		if found := bytes.IndexByte(packet[start:], '|'); found >= 0 {
			pipe = start + found
		}
		at = min(pipe, len(line))
		tags = line[start:at]
	}
	p.pipe = pipe - (len(packet) - len(rest))
	s := &p.sample
	if p.isRich {
		*s = Sample{Values: s.Values}
		p.isRich = false
	}
	if len(s.Values) != 1 {
		s.Values = append(s.Values[:0], 0)
	}
	s.Values[0] = number
	s.Name, s.Type, s.Rate, s.Tags = line[:colon], typ, 1, tags
	if isNumber && typ != Set && at == len(line) && !mayBeTooMany(tags) {
		return KindMetric, rest
	}
	if !isNumber {
		s.Values = s.Values[:0]
	}
	reason := p.readRest(line[colon+1:valueEnd], line[min(at+1, len(line)):])
	return p.result(line, KindMetric, reason), rest
}

// firstPipe returns where the first pipe in the rest of a packet is, or its
// length at least.
func (p *Parser) firstPipe(packet []byte) int {
	if p.pipe < 0 {
		p.pipe = pipeOrEnd(packet)
	}
	return p.pipe
}

func pipeOrEnd(text []byte) int {
	if pipe := bytes.IndexByte(text, '|'); pipe >= 0 {
		return pipe
	}
	return len(text)
}

// isOdd tells whether a line is surely nothing for next.
func isOdd(line []byte, pipe int) bool {
	n := len(line)
	return pipe >= n || n > MaxLine || line[0] == '_' || line[n-1] == '\r'
}

// endsName tells whether the place of the first colon is one behind a name.
func endsName(colon int) bool { return colon > 0 && colon <= MaxName }

// plainType returns the type at a place, and where it ends. It is 0 if there is
// none that is known.
func plainType(line []byte, at int) (typ Type, end int) {
	if at >= len(line) {
		return 0, 0
	}
	typ, end = shortTypes[line[at]], at+1
	if line[at] == 'm' && end < len(line) && line[end] == 's' {
		typ = Timer
		end++
	}
	if end < len(line) && line[end] != '|' {
		return 0, 0
	}
	return typ, end
}

// readMetric reads any metric into p.sample. On a Reason the sample is worthless.
//
//	name ":" value *(":" value) "|" type *("|" field)
func (p *Parser) readMetric(line []byte) Reason {
	head, behind := line, []byte(nil)
	pipe := bytes.IndexByte(line, '|')
	if pipe >= 0 {
		head, behind = line[:pipe], line[pipe+1:]
	}
	colon := bytes.IndexByte(head, ':')
	switch {
	case len(head) == 0 || colon == 0:
		return NoName
	case colon < 0 || colon == len(head)-1:
		return NoValue
	case colon > MaxName:
		return NameTooLong
	}
	typ, fields, reason := metricType(behind)
	if reason != reasonNone {
		return reason
	}
	s := &p.sample
	p.isRich = true
	*s = Sample{Values: s.Values[:0]}
	s.Name, s.Type, s.Rate = head[:colon], typ, 1
	return p.readRest(head[colon+1:], fields)
}

// metricType reads the type at the start of what stands behind the first pipe.
func metricType(rest []byte) (Type, []byte, Reason) {
	name, fields := rest, []byte(nil)
	// A type has one or two letters, which are looked at faster than searched.
	switch {
	case len(rest) == 0 || rest[0] == '|':
		return 0, nil, NoType
	case len(rest) > 1 && rest[1] == '|':
		name, fields = rest[:1], rest[2:]
	case len(rest) > 2:
		name, fields = field(rest)
	}
	switch len(name) {
	case 1:
		if typ := shortTypes[name[0]]; typ != 0 {
			return typ, fields, reasonNone
		}
	case len("ms"):
		if name[0] == 'm' && name[1] == 's' {
			return Timer, fields, reasonNone
		}
	}
	return 0, nil, UnknownType
}

var shortTypes = [256]Type{'c': Counter, 'g': Gauge, 's': Set, 'h': Histogram, 'd': Distribution}

// readRest reads a value, unless it is there, and fields, and judges what came of
// all.
func (p *Parser) readRest(value, fields []byte) Reason {
	p.isRich = true
	s := &p.sample
	infinite, reason := 0, reasonNone
	if len(s.Values) == 0 || s.Type == Set {
		infinite, reason = s.readValue(value)
	}
	if reason != reasonNone {
		return reason
	}
	unknown, reason := s.readFields(fields)
	if reason != reasonNone {
		return reason
	}
	return p.amend(infinite, unknown)
}

// readValue reads what stands between name and type. Infinite is as in
// readValues.
func (s *Sample) readValue(text []byte) (infinite int, reason Reason) {
	s.Values = s.Values[:0]
	if s.Type != Set {
		return s.readValues(text)
	}
	if s.Member = text; len(text) == 0 {
		return 0, NoValue
	}
	return 0, reasonNone
}

// readValues reads packed values. Empty ones do not count; infinite is how many
// of them are NaN or infinite, which are left out.
func (s *Sample) readValues(text []byte) (infinite int, reason Reason) {
	for len(text) > 0 {
		one := text
		if colon := bytes.IndexByte(text, ':'); colon >= 0 {
			one, text = text[:colon], text[colon+1:]
		} else {
			text = nil
		}
		if len(one) == 0 {
			continue
		}
		value, ok := parseFloat(one)
		switch {
		case !ok:
			return 0, BadValue
		case math.IsNaN(value) || math.IsInf(value, 0):
			infinite++
		default:
			s.Values = append(s.Values, value)
		}
	}
	if len(s.Values) == 0 && infinite == 0 {
		return 0, NoValue
	}
	return infinite, reasonNone
}

// readFields reads the optional fields, in any order; the last one of a kind
// wins. Unknown is how many were skipped.
func (s *Sample) readFields(rest []byte) (unknown int, reason Reason) {
	for len(rest) > 0 {
		var text []byte
		if text, rest = field(rest); len(text) == 0 {
			continue
		}
		ok := true
		switch text[0] {
		case '#':
			s.Tags = text[1:]
		case '@':
			if s.Rate, ok = parseFloat(text[1:]); !ok {
				return 0, BadRate
			}
		case 'T':
			if s.Timestamp, ok = parseInt(text[1:]); !ok || s.Timestamp <= 0 {
				return 0, BadTimestamp
			}
		default:
			if !setSender(text, &s.LocalData, &s.ExternalData, &s.Cardinality) {
				unknown++
			}
		}
	}
	return unknown, reasonNone
}

// amend judges the sample as a whole and counts what was amended. Nothing is
// counted before it is known that the line is kept.
func (p *Parser) amend(infinite, unknown int) Reason {
	s := &p.sample
	switch {
	case s.Timestamp != 0 && s.Type != Counter && s.Type != Gauge:
		return TimestampType
	case tooMany(s.Tags):
		return TooManyTags
	case infinite > 0 && len(s.Values) == 0:
		p.Counts.Add(NotANumber, uint64(infinite-1)) // and one for the line
		return NotANumber
	}
	if !(s.Rate > 0 && s.Rate <= 1) { // so written, NaN is outside
		s.Rate = 1
		p.Counts.Add(RateClamped, 1)
	}
	if infinite+unknown > 0 {
		p.Counts.Add(NotANumber, uint64(infinite))
		p.Counts.Add(UnknownField, uint64(unknown))
	}
	return reasonNone
}
