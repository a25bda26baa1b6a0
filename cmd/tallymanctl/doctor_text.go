package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tallymanhq/tallyman/internal/doctor"
)

const (
	// lineWidth is that of the smallest terminal in use.
	lineWidth = 80
	// wordWidth and labelWidth are the columns before what is found, and
	// before what is said about it.
	wordWidth  = 6
	labelWidth = 7
)

// statusWords are what a reader sees of a status, with its colour (the
// parameter of ECMA-48's SGR).
var statusWords = map[doctor.Status]struct{ word, colour string }{
	doctor.Pass:    {"ok", "32"},
	doctor.Warn:    {"WARN", "33"},
	doctor.Fail:    {"FAIL", "31"},
	doctor.Unknown: {"?", "36"},
}

// doctorText writes a report for people.
type doctorText struct {
	verbose, colour bool

	b strings.Builder
}

// render returns the whole text. Results that follow each other and have the
// same to be said about them are said it once, after the last of them.
func (t *doctorText) render(out doctorOutput) string {
	t.head(out)
	width := 0
	for _, r := range out.Checks {
		width = max(width, utf8.RuneCountInString(r.Title))
	}
	for i, r := range out.Checks {
		t.line(r, width)
		if i+1 < len(out.Checks) && saySame(r, out.Checks[i+1]) {
			continue
		}
		t.details(r)
	}
	t.summary(out)
	return t.b.String()
}

func (t *doctorText) head(out doctorOutput) {
	h := out.Host
	user := fmt.Sprintf("user %d", h.UID)
	if h.UID == 0 {
		user = "root"
	}
	t.wrap("", fmt.Sprintf("tallymanctl %s on %s, Linux %s %s, as %s, root path %s", out.Version, h.Name, h.Kernel, h.Architecture, user, h.RootPath), 0)
	t.wrap("", "What follows is what this process may do. Run it the way the agent runs: same user, same container, same limits.", 0)
	t.b.WriteByte('\n')
}

// line has the word, the title, and what was found.
func (t *doctorText) line(r doctor.Result, width int) {
	status := statusWords[r.Status]
	word := fmt.Sprintf("%-*s", wordWidth, status.word)
	if t.colour {
		word = "\x1b[" + status.colour + "m" + status.word + "\x1b[0m" + strings.Repeat(" ", max(wordWidth-len(status.word), 0))
	}
	t.b.WriteString(word)
	t.wrap(fmt.Sprintf("%-*s  ", width, r.Title), r.Found, wordWidth)
}

func saySame(a, b doctor.Result) bool {
	return a.Status == b.Status && a.Meaning == b.Meaning && a.Remedy == b.Remedy && a.Error == b.Error
}

func (t *doctorText) details(r doctor.Result) {
	if r.Status == doctor.Pass && !t.verbose {
		return
	}
	for _, d := range []struct{ label, text string }{{"means", r.Meaning}, {"do", r.Remedy}, {"error", r.Error}} {
		label := fmt.Sprintf("%-*s", labelWidth, d.label)
		for text := range strings.Lines(d.text) {
			t.b.WriteString(strings.Repeat(" ", wordWidth))
			t.wrap(label, strings.TrimSpace(text), wordWidth)
			label = strings.Repeat(" ", labelWidth)
		}
	}
}

// wrap writes a text after its label, with further lines below its beginning.
// The line has used up indent columns already. A word that is too long for any
// line stays whole: it is a path to be copied.
func (t *doctorText) wrap(label, text string, indent int) {
	start := indent + utf8.RuneCountInString(label)
	t.b.WriteString(label)
	column := start
	for i, word := range strings.Fields(text) {
		size := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+size > lineWidth:
			t.b.WriteString("\n" + strings.Repeat(" ", start))
			column = start
		default:
			t.b.WriteByte(' ')
			column++
		}
		t.b.WriteString(word)
		column += size
	}
	t.b.WriteByte('\n')
}

func (t *doctorText) summary(out doctorOutput) {
	s := out.Summary
	fmt.Fprintf(&t.b, "\n%d checks: %d ok, %d with a warning, %d failed, %d not decided\n",
		s.Pass+s.Warn+s.Fail+s.Unknown, s.Pass, s.Warn, s.Fail, s.Unknown)
}
