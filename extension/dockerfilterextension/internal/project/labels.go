package project

import (
	"bytes"

	"github.com/tallymanhq/tallyman/internal/secret"
)

// longestLabel bounds keys and values of labels that no profile names, in bytes.
// Longer ones are documents: configurations, templates, scripts.
const longestLabel = 255

// adPrefix begins the labels with templates of Datadog's autodiscovery. They
// are JSON that often holds a password, so allowing them is not enough.
const adPrefix = "com.datadoghq.ad."

// discoveryPrefix begins the labels by which a container asks to be collected from.
// They hold configurations of receivers, which may be long but not secret. Of one
// whose value may not be seen the name stays, whoever asks: an agent that reads only
// the labels beside it would start a receiver with other settings than were meant.
const discoveryPrefix = "io.opentelemetry.discovery"

// DiscoveryLabels are the labels that a profile allows for who discovers
// applications by them, beside [DefaultLabelAllow].
func DiscoveryLabels() []string { return []string{discoveryPrefix + "*"} }

// verdict is what becomes of a label.
type verdict uint8

const (
	leave verdict = iota
	stay
	stayMasked // the name stays, and *** for the value
)

func stayIf(ok bool) verdict {
	if ok {
		return stay
	}
	return leave
}

// labels is an object of strings.
func (p *pass) labels(n *node) (bool, error) {
	return p.pairs(n, func(key, value []byte) verdict { return p.judgeLabel(key, value) })
}

// pairs reads an object of strings and keeps the members that may be seen.
func (p *pass) pairs(n *node, judge func(key, value []byte) verdict) (bool, error) {
	switch p.dec.PeekKind() {
	case 'n':
		return true, p.copyNull()
	case '{':
	default:
		return false, p.unexpected(n)
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return false, p.readError(err)
	}
	p.out = append(p.out, '{')
	for p.dec.PeekKind() != '}' {
		raw, key, err := p.string(n)
		if err != nil {
			return false, err
		}
		mark := len(p.out)
		p.comma()
		p.out = append(append(p.out, raw...), ':')
		p.key = append(p.key[:0], key...)
		raw, value, err := p.string(n)
		if err != nil {
			return false, err
		}
		switch judge(p.key, value) {
		case stay:
			p.out = append(p.out, raw...)
		case stayMasked:
			p.count(n)
			p.out = appendQuoted(p.out, []byte(mask))
		default:
			p.count(n)
			p.out = p.out[:mark]
		}
	}
	_, err := p.dec.ReadToken()
	p.out = append(p.out, '}')
	return true, p.readError(err)
}

// labelList is a list of key=value.
func (p *pass) labelList(n *node) (bool, error) {
	switch p.dec.PeekKind() {
	case 'n':
		return true, p.copyNull()
	case '[':
	default:
		return false, p.unexpected(n)
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return false, p.readError(err)
	}
	p.out = append(p.out, '[')
	for p.dec.PeekKind() != ']' {
		raw, text, err := p.string(n)
		if err != nil {
			return false, err
		}
		key, value, _ := bytes.Cut(text, []byte("="))
		if p.judgeLabel(key, value) != stay {
			p.count(n)
			continue
		}
		p.comma()
		p.out = append(p.out, raw...)
	}
	_, err := p.dec.ReadToken()
	p.out = append(p.out, ']')
	return true, p.readError(err)
}

// judgeLabel is the label rule: what the profile allows, then what it denies,
// then what looks harmless.
func (p *pass) judgeLabel(key, value []byte) verdict {
	if p.rules.labelAllow.match(key) {
		return judgeAllowed(key, value)
	}
	p.aux = appendLower(p.aux[:0], key)
	switch {
	case p.rules.labelDeny.match(p.aux) || len(key) > longestLabel || secret.Likely(key):
		return leave
	case len(value) <= longestLabel && !secret.Likely(value):
		return stay
	case bytes.HasPrefix(key, []byte(discoveryPrefix)):
		return stayMasked
	}
	return leave
}

func judgeAllowed(key, value []byte) verdict {
	switch {
	case bytes.HasPrefix(key, []byte(adPrefix)):
		return stayIf(!secret.Likely(value))
	case bytes.HasPrefix(key, []byte(discoveryPrefix)) && secret.Likely(value):
		return stayMasked
	}
	return stay
}
