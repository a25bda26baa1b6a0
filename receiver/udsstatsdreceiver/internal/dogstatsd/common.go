package dogstatsd

import "bytes"

// Common is what events and service checks have in common with metrics. Its
// slices point into the packet and are valid until the next line.
type Common struct {
	// Tags is the text behind #, as sent: see [Tags].
	Tags []byte
	// LocalData, ExternalData and Cardinality are the texts behind c:, e: and card:.
	LocalData, ExternalData, Cardinality []byte
	// Host is the text behind h:, which overrides the host. As in a metric, a
	// tag can do so too.
	Host []byte
	// Timestamp is in seconds since 1970, 0 without one.
	Timestamp int64
}

// fieldState is what became of an optional field.
type fieldState uint8

const (
	fieldTaken   fieldState = iota
	fieldBad                // the key is known, the value cannot be read
	fieldUnknown            // the key is not known
)

// set takes a field if it is one of the common ones.
func (c *Common) set(text []byte) fieldState {
	if text[0] == '#' {
		c.Tags = text[1:]
		return fieldTaken
	}
	switch key, value := fieldKey(text); key {
	case 'd':
		seconds, ok := parseInt(value)
		if !ok || seconds <= 0 {
			return fieldBad
		}
		c.Timestamp = seconds
		return fieldTaken
	case 'h':
		c.Host = value
		return fieldTaken
	}
	if setSender(text, &c.LocalData, &c.ExternalData, &c.Cardinality) {
		return fieldTaken
	}
	return fieldUnknown
}

// fieldKey splits a field whose key is one letter; the key is 0 if it is not.
func fieldKey(text []byte) (key byte, value []byte) {
	if len(text) < 2 || text[1] != ':' {
		return 0, nil
	}
	return text[0], text[2:]
}

// setSender takes a field if it is one of those about the sender.
func setSender(text []byte, local, external, cardinality *[]byte) bool {
	switch key, value := fieldKey(text); key {
	case 'c':
		*local = value
		return true
	case 'e':
		*external = value
		return true
	}
	word, ok := bytes.CutPrefix(text, []byte("card:"))
	if ok {
		*cardinality = word
	}
	return ok
}

// unescape returns text with backslash-n as newline and, where colons is set,
// with m\: as m:, which is how clients keep a message from ending the line or
// beginning another field. What was changed is in p.text.
func (p *Parser) unescape(text []byte, colons bool) []byte {
	next := bytes.IndexByte(text, '\\')
	if next < 0 {
		return text
	}
	start := len(p.text)
	for ; next >= 0; next = bytes.IndexByte(text, '\\') {
		p.text = append(p.text, text[:next]...)
		isM := next > 0 && text[next-1] == 'm'
		switch text = text[next+1:]; {
		case len(text) > 0 && text[0] == 'n':
			p.text = append(p.text, '\n')
			text = text[1:]
		case colons && isM && len(text) > 0 && text[0] == ':':
			p.text = append(p.text, ':')
			text = text[1:]
		default:
			p.text = append(p.text, '\\')
		}
	}
	p.text = append(p.text, text...)
	return p.text[start:len(p.text):len(p.text)]
}
