package request

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// errFilterShape says that filters are JSON, but not of the shape of filters.
var errFilterShape = errors.New("not an object of lists of strings")

// parseFilters reads the two forms that clients send,
//
//	{"label":["a=b"],"status":["running"]}
//	{"label":{"a=b":true},"status":{"running":true}}
//
// and refuses names outside known. A name given twice is an error of the
// decoder. Empty text and empty lists filter nothing.
func parseFilters(text string, known []string) (map[string][]string, *Refusal) {
	if text == "" {
		return nil, nil
	}
	p := filterParser{decoder: jsontext.NewDecoder(bytes.NewBufferString(text)), known: known}
	if err := p.object(); err != nil {
		return nil, badQuery(ReasonQuery, "parameter filters: %s", quoteError(err))
	}
	return p.found, nil
}

type filterParser struct {
	decoder *jsontext.Decoder
	known   []string
	found   map[string][]string
}

// unknownFilter is the error for a name that the operation does not know.
type unknownFilter string

func (name unknownFilter) Error() string { return "no filter " + quote(string(name)) + " here" }

// unfitFilter is the error for a value that tells of what is not shown.
type unfitFilter string

func (name unfitFilter) Error() string { return "no such value of filter " + string(name) + " here" }

// mayFilter refuses values by which the engine could be asked for what answers
// leave out. With some actions it compares only the beginning, and an exec's has
// its command line in it (daemon/events/filter.go of moby); a volume may be given
// by its directory on the host.
func mayFilter(name, value string) bool {
	switch name {
	case "event":
		short, health, isHealth := strings.Cut(value, ": ")
		if isHealth && (short != "health_status" || !isAction(health)) {
			return false
		}
		return isAction(short)
	case "volume":
		return !strings.Contains(value, "/")
	}
	return true
}

// isAction is true for the words that actions are made of.
func isAction(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(c rune) bool { return (c < 'a' || c > 'z') && c != '_' && c != '-' })
}

// object reads the whole text.
func (p *filterParser) object() error {
	if err := p.expect('{'); err != nil {
		return err
	}
	for p.decoder.PeekKind() != '}' {
		name, err := p.text()
		if err != nil {
			return err
		}
		values, err := p.values()
		if err != nil {
			return err
		}
		if !slices.Contains(p.known, name) {
			return unknownFilter(name)
		}
		if slices.ContainsFunc(values, func(v string) bool { return !mayFilter(name, v) }) {
			return unfitFilter(name)
		}
		p.add(name, values)
	}
	if err := p.expect('}'); err != nil {
		return err
	}
	if _, err := p.decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return errFilterShape
	}
	return nil
}

func (p *filterParser) add(name string, values []string) {
	if len(values) == 0 {
		return
	}
	if p.found == nil {
		p.found = make(map[string][]string)
	}
	slices.Sort(values)
	p.found[name] = slices.Compact(values)
}

// values reads a list of strings, or an object whose values are all true.
func (p *filterParser) values() ([]string, error) {
	open, err := p.decoder.ReadToken()
	if err != nil {
		return nil, err
	}
	kind := open.Kind()
	if kind != '[' && kind != '{' {
		return nil, errFilterShape
	}
	end := kind + 2 // in ASCII both brackets close two further on
	var values []string
	for p.decoder.PeekKind() != end {
		value, err := p.text()
		if err != nil {
			return nil, err
		}
		if kind == '{' {
			if err := p.expect('t'); err != nil {
				return nil, err
			}
		}
		values = append(values, value)
	}
	return values, p.expect(end)
}

// text reads a string without control characters: no name or label has them.
func (p *filterParser) text() (string, error) {
	token, err := p.decoder.ReadToken()
	if err != nil {
		return "", err
	}
	if token.Kind() != '"' {
		return "", errFilterShape
	}
	text := token.String()
	if strings.ContainsFunc(text, unicode.IsControl) {
		return "", errFilterShape
	}
	return text, nil
}

func (p *filterParser) expect(kind jsontext.Kind) error {
	token, err := p.decoder.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() != kind {
		return errFilterShape
	}
	return nil
}

// quoteError keeps what the decoder says of foreign text short and printable.
func quoteError(err error) string {
	var unknown unknownFilter
	switch {
	case errors.Is(err, errFilterShape), errors.As(err, &unknown):
		return err.Error()
	case errors.Is(err, jsontext.ErrDuplicateName):
		return "a name is given twice"
	}
	return "not valid JSON"
}

// appendFilters appends the canonical JSON of filters, the second form of
// parseFilters: engines of all versions and all of Docker's own clients use
// it.
func appendFilters(b []byte, filters map[string][]string) []byte {
	names := make([]string, 0, len(filters))
	for name := range filters {
		names = append(names, name)
	}
	slices.Sort(names)
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, name)
		b = append(b, ':', '{')
		for j, value := range filters[name] {
			if j > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, value)
			b = append(b, ":true"...)
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

func appendJSON(b []byte, text string) []byte {
	// The error is about text that is not UTF-8, which cannot come from
	// parseFilters; its bytes are replaced, so that the result is JSON still.
	b, _ = jsontext.AppendQuote(b, text)
	return b
}
