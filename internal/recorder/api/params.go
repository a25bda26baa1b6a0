package api

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// The bounds of optional times. Prometheus' own, which clients know; they are short
// of the extremes of int64 so that adding a look-back does not overflow.
var (
	minTime = time.Unix(math.MinInt64/1000+62135596801, 0).UTC()
	maxTime = time.Unix(math.MaxInt64/1000-62135596801, 999999999).UTC()
)

var errRange = errors.New("out of range")

// parseTime reads seconds since 1970 or RFC 3339.
func parseTime(text string) (time.Time, error) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		return fromSeconds(seconds)
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	// Years of more than four digits are beyond time.Parse.
	switch text {
	case minTime.Format(time.RFC3339Nano):
		return minTime, nil
	case maxTime.Format(time.RFC3339Nano):
		return maxTime, nil
	}
	return time.Time{}, fmt.Errorf("parse %q: not a valid timestamp", text)
}

// fromSeconds rounds to milliseconds, which is the resolution of the store.
func fromSeconds(seconds float64) (time.Time, error) {
	if math.IsNaN(seconds) || seconds < float64(minTime.Unix()) || seconds > float64(maxTime.Unix()) {
		return time.Time{}, fmt.Errorf("time %v: %w", seconds, errRange)
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(math.Round(part*1000))*int64(time.Millisecond)).UTC(), nil
}

// parseDuration reads seconds or Prometheus' notation, such as 1h30m.
func parseDuration(text string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		size := seconds * float64(time.Second)
		// float64(MaxInt64) is one more than fits.
		if math.IsNaN(size) || size >= float64(math.MaxInt64) || size <= float64(math.MinInt64) {
			return 0, fmt.Errorf("parse %q as a duration: %w", text, errRange)
		}
		return time.Duration(size), nil
	}
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("parse %q: not a valid duration", text)
	}
	return time.Duration(d), nil
}

// params reads parameters and keeps the first that is wrong.
type params struct {
	url.Values
	failure *failure
}

func (p *params) fail(name string, err error) {
	if p.failure == nil {
		p.failure = badParam(name, err)
	}
}

func (p *params) time(name string, otherwise time.Time) time.Time {
	text := p.Get(name)
	if text == "" {
		return otherwise
	}
	t, err := parseTime(text)
	if err != nil {
		p.fail(name, err)
	}
	return t
}

// needTime is time for a parameter that must be there.
func (p *params) needTime(name string) time.Time {
	t, err := parseTime(p.Get(name))
	if err != nil {
		p.fail(name, err)
	}
	return t
}

// duration returns 0 for a parameter that is not there.
func (p *params) duration(name string) time.Duration {
	text := p.Get(name)
	if text == "" {
		return 0
	}
	d, err := parseDuration(text)
	if err != nil {
		p.fail(name, err)
	}
	return d
}

// count returns 0 for a parameter that is not there.
func (p *params) count(name string) int {
	text := p.Get(name)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err == nil && n < 0 {
		err = errors.New("must not be negative")
	}
	if err != nil {
		p.fail(name, err)
		return 0
	}
	return n
}

func (p *params) flag(name string) bool {
	text := p.Get(name)
	if text == "" {
		return false
	}
	set, err := strconv.ParseBool(text)
	if err != nil {
		p.fail(name, err)
	}
	return set
}

// maxList bounds the values of one parameter; a page asks for some ten.
const maxList = 1000

// list joins the parameter's repetitions and their parts between commas.
func (p *params) list(name string) []string {
	var all []string
	for _, text := range p.Values[name] {
		for part := range strings.SplitSeq(text, ",") {
			if part == "" {
				continue
			}
			if len(all) == maxList {
				p.fail(name, fmt.Errorf("more than %d values", maxList))
				return nil
			}
			all = append(all, part)
		}
	}
	return all
}

// oneOf returns the first word for a parameter that is not there.
func (p *params) oneOf(name string, words ...string) string {
	text := p.Get(name)
	if text == "" {
		return words[0]
	}
	for _, word := range words {
		if text == word {
			return word
		}
	}
	p.fail(name, fmt.Errorf("%q is none of %s", text, strings.Join(words, ", ")))
	return ""
}

// span returns the times of two parameters, in order.
func (p *params) span(from, to string, bounds [2]time.Time) (start, end time.Time) {
	start, end = p.time(from, bounds[0]), p.time(to, bounds[1])
	if p.failure == nil && !start.IsZero() && !end.IsZero() && end.Before(start) {
		p.fail(to, fmt.Errorf("it is before %s", from))
	}
	return start, end
}

// matchers reads match[]: at least one matcher of each set must refuse the empty
// string, or it would select everything.
func (p *params) matchers(parse parser.Parser) [][]*labels.Matcher {
	texts := p.Values["match[]"]
	if len(texts) > maxSelectors {
		p.fail("match[]", fmt.Errorf("more than %d values", maxSelectors))
		return nil
	}
	if err := checkExpressions(texts...); err != nil {
		p.fail("match[]", err)
		return nil
	}
	sets, err := parse.ParseMetricSelectors(texts)
	if err != nil {
		p.fail("match[]", err)
		return nil
	}
	for _, set := range sets {
		if !selects(set) {
			p.fail("match[]", errors.New("match[] must contain at least one non-empty matcher"))
			return nil
		}
	}
	return sets
}

func selects(set []*labels.Matcher) bool {
	for _, m := range set {
		if m != nil && !m.Matches("") {
			return true
		}
	}
	return false
}
