package project

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tallymanhq/tallyman/internal/secret"
)

// mask stands where a text was taken out and something has to be.
const mask = "***"

// rule reads one value and appends what may be seen of it to pass.out. It
// reports whether anything may be; if not, the field is left out.
type rule struct {
	name     string // in tables.txt
	read     func(*pass, *node) (bool, error)
	verbatim bool // text leaves as it came
}

// rules are what tables.txt can name.
var rules = map[string]rule{
	// Kept, if they have the form.
	"number": {read: (*pass).number},
	"flag":   {read: (*pass).flag},
	"id":     {read: kept(isID), verbatim: true},
	"time":   {read: kept(isTime), verbatim: true},
	"name":   {read: kept(isName), verbatim: true},
	"word":   {read: kept(isWord), verbatim: true},
	"text":   {read: kept(isText), verbatim: true},
	// Left out.
	"drop":    {read: (*pass).drop},
	"blank":   {read: (*pass).blank},
	"nothing": {read: (*pass).nothing},
	// Decide about the element, or by who looks.
	"subject":      {read: (*pass).subject, verbatim: true},
	"container-id": {read: (*pass).containerID, verbatim: true},
	"volume":       {read: (*pass).volume, verbatim: true},
	"join":         {read: (*pass).join},
	"counter":      {read: (*pass).counter},
	// Commands.
	"first":         {read: (*pass).first},
	"path":          {read: (*pass).path},
	"arguments":     {read: (*pass).arguments},
	"command":       {read: (*pass).command},
	"command-first": {read: (*pass).commandFirst},
	"process":       {read: (*pass).process},
	"code":          {read: (*pass).code},
	// Names with values.
	"env":        {read: (*pass).env},
	"labels":     {read: (*pass).labels},
	"label-list": {read: (*pass).labelList},
	// Events.
	"action":      {read: (*pass).action, verbatim: true},
	"event-id":    {read: (*pass).eventID, verbatim: true},
	"event-type":  {read: (*pass).eventType, verbatim: true},
	"event-actor": {read: (*pass).eventActor, verbatim: true},
	"attributes":  {read: (*pass).attributes},
}

func ruleNamed(name string) (rule, bool) {
	r, ok := rules[name]
	r.name = name
	return r, ok
}

// classNamed returns the test for the keys of a map, or nil.
func classNamed(name string) func(*pass, []byte) bool {
	switch name {
	case "word":
		return func(_ *pass, key []byte) bool { return isWord(key) && !secret.Certain(key) }
	case "counter":
		return func(_ *pass, key []byte) bool { return isName(key) && !secret.Likely(key) }
	case "port":
		return func(_ *pass, key []byte) bool { return isPort(key) }
	case "container":
		return func(p *pass, key []byte) bool { return isID(key) && !secret.Certain(key) && p.visible(key) }
	}
	return nil
}

// kept makes the rule for text that leaves as it came if it has the form.
func kept(form func([]byte) bool) func(*pass, *node) (bool, error) {
	return func(p *pass, n *node) (bool, error) {
		if p.dec.PeekKind() == 'n' {
			return true, p.copyNull()
		}
		raw, text, err := p.string(n)
		if err != nil {
			return false, err
		}
		return p.keep(n, raw, form(text) && !secret.Certain(text)), nil
	}
}

// keep appends a text as it was written, or counts that it was not.
func (p *pass) keep(n *node, raw []byte, ok bool) bool {
	if !ok {
		p.count(n)
		return false
	}
	p.out = append(p.out, raw...)
	return true
}

func (p *pass) number(n *node) (bool, error) { return p.scalar(n, "0") }

func (p *pass) flag(n *node) (bool, error) { return p.scalar(n, "tf") }

func (p *pass) scalar(n *node, kinds string) (bool, error) {
	kind := p.dec.PeekKind()
	if kind != 'n' && (kind == 0 || !bytes.ContainsRune([]byte(kinds), rune(kind))) {
		return false, p.unexpected(n)
	}
	raw, err := p.dec.ReadValue()
	if err != nil {
		return false, p.readError(err)
	}
	p.out = append(p.out, raw...)
	return true, nil
}

// drop leaves the field out, and counts it if there was something in it.
func (p *pass) drop(n *node) (bool, error) {
	switch p.dec.PeekKind() {
	case '{', '[':
		return false, p.dropNested(n)
	case 'n':
	case '"':
		_, text, err := p.string(n)
		if err == nil && len(text) > 0 {
			p.count(n)
		}
		return false, err
	default:
		p.count(n)
	}
	return false, p.skip()
}

func (p *pass) dropNested(n *node) error {
	if _, err := p.dec.ReadToken(); err != nil {
		return p.readError(err)
	}
	depth := p.dec.StackDepth()
	if kind := p.dec.PeekKind(); kind != '}' && kind != ']' {
		p.count(n)
	}
	for p.dec.StackDepth() >= depth {
		if err := p.skipToken(); err != nil {
			return err
		}
	}
	return nil
}

// blank keeps the field and takes the text out.
func (p *pass) blank(n *node) (bool, error) {
	_, text, err := p.string(n)
	if err == nil && len(text) > 0 {
		p.count(n)
	}
	p.out = append(p.out, '"', '"')
	return true, err
}

// nothing keeps an object for its being there.
func (p *pass) nothing(n *node) (bool, error) {
	switch p.dec.PeekKind() {
	case 'n':
		return true, p.copyNull()
	case '{':
		p.out = append(p.out, '{', '}')
		return true, p.skip()
	}
	return false, p.unexpected(n)
}

// subject says which container the element is.
func (p *pass) subject(n *node) (bool, error) {
	raw, text, err := p.string(n)
	if err != nil {
		return false, err
	}
	if len(text) == 0 || !isID(text) {
		return false, fmt.Errorf("read %s: %w (no id)", n.path, ErrShape)
	}
	p.element.subject = true
	p.element.hidden = !p.visible(text)
	return p.keep(n, raw, !secret.Certain(text)), nil
}

func (p *pass) visible(id []byte) bool {
	return p.view.Visible == nil || p.view.Visible.Container(string(id))
}

// containerID is the number of a container that belongs to the element.
func (p *pass) containerID(n *node) (bool, error) {
	raw, text, err := p.string(n)
	if err != nil {
		return false, err
	}
	return p.keep(n, raw, isID(text) && p.visible(text) && !secret.Certain(text)), nil
}

func (p *pass) volume(n *node) (bool, error) {
	raw, text, err := p.string(n)
	if err != nil {
		return false, err
	}
	p.element.hidden = p.view.Volume != nil && !p.view.Volume(string(text))
	return p.keep(n, raw, isWord(text) && !secret.Certain(text)), nil
}

// join is a namespace that a container may share with another one.
func (p *pass) join(n *node) (bool, error) {
	raw, text, err := p.string(n)
	if err != nil {
		return false, err
	}
	const other = "container:"
	if bytes.HasPrefix(text, []byte(other)) && !p.visible(text[len(other):]) {
		p.count(n)
		p.out = append(p.out, `"`+other+mask+`"`...)
		return true, nil
	}
	return p.keep(n, raw, isWord(text) && !secret.Certain(text)), nil
}

// counter is a number of containers, which tells of those that are hidden.
func (p *pass) counter(n *node) (bool, error) {
	if p.view.Counters == nil {
		keep, err := p.number(n)
		if p.view.Visible != nil {
			p.count(n)
			return false, err
		}
		return keep, err
	}
	c := p.view.Counters()
	p.out = strconv.AppendInt(p.out, int64(map[string]int{
		"Containers": c.Containers, "ContainersRunning": c.Running,
		"ContainersPaused": c.Paused, "ContainersStopped": c.Stopped,
	}[n.name]), 10)
	if kind := p.dec.PeekKind(); kind != '0' {
		return false, p.unexpected(n)
	}
	return true, p.skip()
}

// code replaces the text of an error.
func (p *pass) code(n *node) (bool, error) {
	_, text, err := p.string(n)
	if err != nil {
		return false, err
	}
	code := ""
	if len(text) > 0 {
		p.count(n)
		p.aux = appendLower(p.aux[:0], text)
		code = errorCode(p.aux)
	}
	p.out = appendQuoted(p.out, code)
	return true, nil
}

// appendQuoted appends text as a JSON string. What is no UTF-8 is replaced; a
// text that came through the decoder always is.
func appendQuoted[T ~string | ~[]byte](dst []byte, text T) []byte {
	quoted, err := jsontext.AppendQuote(dst, text)
	if err != nil {
		return append(dst, `"`+mask+`"`...)
	}
	return quoted
}
