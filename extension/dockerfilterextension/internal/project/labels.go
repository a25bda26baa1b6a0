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

// labels is an object of strings.
func (p *pass) labels(n *node) (bool, error) {
	return p.pairs(n, func(key, value []byte) bool { return p.keepLabel(key, value) })
}

// pairs reads an object of strings and keeps the members that may be seen.
func (p *pass) pairs(n *node, keep func(key, value []byte) bool) (bool, error) {
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
		if !keep(p.key, value) {
			p.count(n)
			p.out = p.out[:mark]
			continue
		}
		p.out = append(p.out, raw...)
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
		if !p.keepLabel(key, value) {
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

// keepLabel is the label rule: what the profile allows, then what it denies,
// then what looks harmless.
func (p *pass) keepLabel(key, value []byte) bool {
	if p.rules.labelAllow.match(key) {
		return !bytes.HasPrefix(key, []byte(adPrefix)) || !secret.Likely(value)
	}
	p.aux = appendLower(p.aux[:0], key)
	return !p.rules.labelDeny.match(p.aux) && len(key) <= longestLabel && len(value) <= longestLabel &&
		!secret.Likely(value) && !secret.Likely(key)
}
