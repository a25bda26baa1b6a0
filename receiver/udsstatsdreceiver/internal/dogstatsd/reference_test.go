package dogstatsd_test

import (
	"math"
	"strconv"
	"strings"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

// reference reads a metric the slow and obvious way. It is not ok for a line
// that has to be rejected.
func reference(line string) (s dogstatsd.Sample, ok bool) {
	parts := strings.Split(line, "|")
	name, value, found := strings.Cut(parts[0], ":")
	if !found || name == "" || value == "" || len(name) > dogstatsd.MaxName || len(parts) < 2 {
		return s, false
	}
	s.Name, s.Rate = []byte(name), 1
	s.Type, ok = map[string]dogstatsd.Type{
		"c": dogstatsd.Counter, "g": dogstatsd.Gauge, "s": dogstatsd.Set,
		"h": dogstatsd.Histogram, "ms": dogstatsd.Timer, "d": dogstatsd.Distribution,
	}[parts[1]]
	if !ok || !referenceFields(&s, parts[2:]) {
		return s, false
	}
	mayBeLate := s.Type == dogstatsd.Counter || s.Type == dogstatsd.Gauge
	if s.Timestamp != 0 && !mayBeLate || referenceTags(s.Tags) > dogstatsd.MaxTags {
		return s, false
	}
	if s.Type == dogstatsd.Set {
		s.Member = []byte(value)
		return s, true
	}
	ok = referenceValues(&s, value)
	return s, ok
}

// referenceValues is not ok if one of the values is none, or no value is left.
func referenceValues(s *dogstatsd.Sample, text string) bool {
	for one := range strings.SplitSeq(text, ":") {
		if one == "" {
			continue
		}
		v, err := strconv.ParseFloat(one, 64)
		if err != nil {
			return false
		}
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			s.Values = append(s.Values, v)
		}
	}
	return len(s.Values) > 0
}

func referenceFields(s *dogstatsd.Sample, fields []string) bool {
	var err error
	for _, field := range fields {
		switch {
		case strings.HasPrefix(field, "@"):
			s.Rate, err = strconv.ParseFloat(field[1:], 64)
		case strings.HasPrefix(field, "T"):
			s.Timestamp, err = strconv.ParseInt(field[1:], 10, 64)
			if s.Timestamp <= 0 {
				return false
			}
		case strings.HasPrefix(field, "#"):
			s.Tags = []byte(field[1:])
		case strings.HasPrefix(field, "c:"):
			s.LocalData = []byte(field[2:])
		case strings.HasPrefix(field, "e:"):
			s.ExternalData = []byte(field[2:])
		case strings.HasPrefix(field, "card:"):
			s.Cardinality = []byte(field[5:])
		}
		if err != nil {
			return false
		}
	}
	if math.IsNaN(s.Rate) || s.Rate <= 0 || s.Rate > 1 {
		s.Rate = 1
	}
	return true
}

func referenceTags(tags []byte) int {
	n := 0
	for tag := range strings.SplitSeq(string(tags), ",") {
		if tag != "" {
			n++
		}
	}
	return n
}
