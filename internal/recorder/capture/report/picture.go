package report

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
)

const (
	// maxRows bounds the processes and the connections that a page lists; the
	// members of the capture have all.
	maxRows = 200
	// maxIndent bounds how far to the right the tree goes, in bytes.
	maxIndent = 60
)

// picture is a snapshot as the template draws it.
type picture struct {
	*state.Snapshot
	Who string
	// Again: there is an earlier one of the same container.
	Again bool
	Tree  []node
	// MoreProcesses and MoreSockets are not listed.
	MoreProcesses, MoreSockets int
	Networks                   []network
	Numbers                    []fact
}

// node is a process in the tree.
type node struct {
	state.Process
	// Indent is how the tree is drawn before it.
	Indent  string
	Command string
	Doing   string
	Age     string
	// Victim: a trigger is about it.
	Victim bool
}

// network is the sockets of a namespace.
type network struct {
	States []fact
	Listen []string
	Open   []state.Socket
}

func pictures(d Data) []picture {
	var all []picture
	for _, s := range d.Snapshots {
		p := picture{Snapshot: s, Who: "The host"}
		if s.Container != "" {
			p.Who = nameOf(s.Container, d.Manifest)
		}
		p.Again = slices.ContainsFunc(all, func(o picture) bool { return o.Container == s.Container })
		p.Tree = tree(s, d.Manifest)
		if more := len(p.Tree) - maxRows; more > 0 {
			p.Tree, p.MoreProcesses = p.Tree[:maxRows], more
		}
		p.networks()
		p.Numbers = numbers(s)
		all = append(all, p)
	}
	return all
}

func nameOf(id string, m *bundle.Manifest) string {
	for _, t := range m.Triggers {
		if t.Container.ID == id {
			return t.Container.Label()
		}
	}
	return bundle.Container{ID: id}.Label()
}

// tree has parents before their children. Who has no parent here is a root; a
// circle, which only a reused pid can make, is cut.
func tree(s *state.Snapshot, m *bundle.Manifest) []node {
	known := map[int]bool{}
	children := map[int][]state.Process{}
	for _, p := range s.Processes {
		known[p.PID] = true
	}
	var roots []state.Process
	for _, p := range s.Processes {
		if known[p.PPID] && p.PPID != p.PID {
			children[p.PPID] = append(children[p.PPID], p)
		} else {
			roots = append(roots, p)
		}
	}
	var out []node
	drawn := map[int]bool{}
	var add func(p state.Process, head, tail string)
	add = func(p state.Process, head, tail string) {
		if drawn[p.PID] {
			return
		}
		drawn[p.PID] = true
		tail = tail[:min(len(tail), maxIndent)]
		out = append(out, newNode(p, head, s, m))
		for i, child := range children[p.PID] {
			if i == len(children[p.PID])-1 {
				add(child, tail+"\u2514 ", tail+"  ")
			} else {
				add(child, tail+"\u251c ", tail+"\u2502 ")
			}
		}
	}
	for _, p := range append(roots, s.Processes...) {
		add(p, "", "")
	}
	return out
}

func newNode(p state.Process, indent string, s *state.Snapshot, m *bundle.Manifest) node {
	n := node{Process: p, Indent: indent, Command: strings.Join(p.Argv, " "), Doing: doing(p.State)}
	if n.Command == "" {
		n.Command = "[" + p.Comm + "]"
	}
	if age := s.At.Sub(p.Start); !p.Start.IsZero() && age >= 0 {
		n.Age = span(age)
	}
	n.Victim = slices.ContainsFunc(m.Triggers, func(t bundle.Trigger) bool {
		return t.Process != nil && t.Process.PID == p.PID && t.Container.ID == s.Container
	})
	return n
}

// doing says what the kernel's letter means (proc_pid_stat(5)).
func doing(letter string) string {
	words := map[string]string{
		"R": "runs", "S": "sleeps", "D": "waits, cannot be woken", "Z": "ended, not collected", "T": "stopped", "t": "traced", "X": "dead", "I": "idle",
	}
	if word, ok := words[letter]; ok {
		return word
	}
	return letter
}

func (p *picture) networks() {
	left := maxRows
	for _, ns := range p.Sockets {
		n := network{Listen: ns.Listen}
		for _, name := range sortedKeys(ns.States) {
			n.States = append(n.States, fact{strings.ToLower(strings.ReplaceAll(name, "_", " ")), fmt.Sprint(ns.States[name])})
		}
		shown := min(len(ns.Open), left)
		n.Open = ns.Open[:shown]
		left -= shown
		p.MoreSockets += len(ns.Open) - shown
		p.Networks = append(p.Networks, n)
	}
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// numbers are what is looked for first in the files.
func numbers(s *state.Snapshot) []fact {
	var all []fact
	add := func(name, text string) {
		if text = strings.TrimSpace(text); text != "" {
			all = append(all, fact{name, text})
		}
	}
	for _, f := range []struct{ file, name string }{
		{"memory.current", "Memory in use"}, {"memory.usage_in_bytes", "Memory in use"},
		{"memory.max", "Memory limit"}, {"memory.limit_in_bytes", "Memory limit"},
		{"memory.peak", "Highest memory so far"}, {"memory.max_usage_in_bytes", "Highest memory so far"},
	} {
		add(f.name, bytesText(s.Cgroup[f.file], 1))
	}
	add("Events of memory", strings.Join(strings.Split(strings.TrimSpace(s.Cgroup["memory.events"]), "\n"), ", "))
	for line := range strings.Lines(s.Host["meminfo"]) {
		name, value, _ := strings.Cut(line, ":")
		if text := bytesText(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 1024); name == "MemTotal" {
			add("Memory of the host", text)
		} else if name == "MemAvailable" {
			add("Memory available on the host", text)
		}
	}
	add("Load of the host", s.Host["loadavg"])
	return all
}

// bytesText writes a number of a file as bytes, and leaves other words ("max").
// Numbers above 8 PiB are no limits: cgroup v1 writes PAGE_COUNTER_MAX for none.
func bytesText(text string, unit uint64) string {
	text = strings.TrimSpace(text)
	n, err := strconv.ParseUint(text, 10, 53)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return "none"
	case err != nil:
		return text
	}
	return size(n * unit)
}

// Took is how long the picture took.
func (p *picture) Took() string {
	return (time.Duration(p.TookMicros) * time.Microsecond).Round(100 * time.Microsecond).String()
}
