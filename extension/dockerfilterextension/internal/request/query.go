package request

import (
	"cmp"
	"slices"
	"strings"
)

// Query holds the typed parameters of a request.
type Query struct {
	// Filters maps the name of a filter to its values, both sorted, no value
	// twice. It is nil without filters. What is changed here goes upstream so.
	Filters map[string][]string

	values []value // by name and text
}

// value is a parameter in canonical form.
type value struct{ name, text string }

func (v value) compare(other value) int {
	return cmp.Or(strings.Compare(v.name, other.name), strings.Compare(v.text, other.text))
}

// Value returns a parameter in its canonical form: 1 and 0 for booleans. Of a
// parameter that has several values it is the first in order.
func (q *Query) Value(name string) (string, bool) {
	i := q.index(name)
	if i < 0 {
		return "", false
	}
	return q.values[i].text, true
}

// Values returns all values of a parameter, in order.
func (q *Query) Values(name string) []string {
	var all []string
	for _, v := range q.values {
		if v.name == name {
			all = append(all, v.text)
		}
	}
	return all
}

// Bool returns a boolean parameter, or otherwise if it is absent.
func (q *Query) Bool(name string, otherwise bool) bool {
	text, ok := q.Value(name)
	if !ok {
		return otherwise
	}
	return text == "1"
}

// SetBool gives a boolean parameter a value; it goes upstream if the operation
// knows it.
func (q *Query) SetBool(name string, on bool) {
	q.Drop(name)
	text := "0"
	if on {
		text = "1"
	}
	q.values = append(q.values, value{name, text})
	slices.SortFunc(q.values, value.compare)
}

// Drop takes a parameter out of the upstream request.
func (q *Query) Drop(name string) {
	q.values = slices.DeleteFunc(q.values, func(v value) bool { return v.name == name })
}

func (q *Query) index(name string) int {
	return slices.IndexFunc(q.values, func(v value) bool { return v.name == name })
}

// parseQuery reads the parameters that the operation knows and drops all
// others.
func (r *Request) parseQuery(text string) *Refusal {
	if text == "" {
		return nil
	}
	var seen uint32 // one bit for each parameter of the table
	for pair := range strings.SplitSeq(text, "&") {
		name, raw, _ := strings.Cut(pair, "=")
		if !isParamName(name) {
			return badQuery(ReasonQuery, "%s is not the name of a parameter", quote(name))
		}
		decoded, ok := unescape(raw)
		if !ok {
			return badQuery(ReasonQuery, "parameter %s has broken percent-encoding", quote(name))
		}
		i := slices.IndexFunc(r.spec.params, func(p param) bool { return p.name == name })
		if i < 0 {
			continue
		}
		known := r.spec.params[i]
		if seen&(1<<i) != 0 && known.kind != diskObjects {
			return badQuery(ReasonQuery, "parameter %s is given twice", name)
		}
		seen |= 1 << i
		if refusal := r.addParam(known, decoded); refusal != nil {
			return refusal
		}
	}
	slices.SortFunc(r.Query.values, value.compare)
	return nil
}

func (r *Request) addParam(p param, text string) *Refusal {
	if p.kind == filters {
		var refusal *Refusal
		r.Query.Filters, refusal = parseFilters(text, filterKeys[r.Operation])
		return refusal
	}
	text, refusal := p.value(text)
	if refusal != nil || text == "" {
		return refusal
	}
	v := value{p.name, text}
	if slices.Contains(r.Query.values, v) {
		return badQuery(ReasonQuery, "parameter %s has a value twice", p.name)
	}
	if r.Query.values == nil {
		r.Query.values = make([]value, 0, len(r.spec.params))
	}
	r.Query.values = append(r.Query.values, v)
	r.NeedsSizes = r.NeedsSizes || p.kind == sizes
	return nil
}

// The canonical target is longer than the client's by at most a factor and a
// constant: the shortest list item `"",` becomes `%22%22%3Atrue%2C`, a byte of
// a name or value at most `%21`; the longest version, route and pinned value
// together have less than 100 bytes.
const (
	maxGrowth = 6
	maxFixed  = 128
)

// checkSize refuses a request whose canonical form is longer than a target may
// be. querySize is the length of the client's query.
func (r *Request) checkSize(querySize int) *Refusal {
	if (querySize+len(r.Ref))*maxGrowth+maxFixed < MaxTarget {
		return nil
	}
	if _, canonical := r.Upstream("1.41", r.Ref); len(canonical) > MaxTarget {
		return badQuery(ReasonQuery, "the request is too long")
	}
	return nil
}

// isParamName accepts the characters that names of parameters have. Another
// name could only be a known one in disguise.
func isParamName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !isAlphanumeric(c) && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return name != ""
}
