package netns

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// fileSockstat6 is not there where the kernel has no IPv6.
const fileSockstat6 = "net/sockstat6"

// Activity tells whether anything may have happened in a namespace: nothing has, of
// what its own containers do by TCP, between two that are known and equal.
type Activity struct {
	IsKnown bool
	// CPU is the processor time that its containers have used.
	CPU time.Duration
	// Sockets are its TCP sockets that listen or are connected. TIME_WAIT is none.
	Sockets int
}

// Activity asks for that of a namespace. It is not known of the host's namespace,
// and without Options.CPUTime. Like Read it is for the goroutine that calls Refresh.
//
// Who is in no container, and enters the namespace (nsenter, docker network
// connect), uses nothing of its containers' time: its addresses, and its sockets of
// other protocols, do not show here.
func (t *Tracker) Activity(n *Namespace) Activity {
	if t.o.CPUTime == nil || len(n.members) == 0 {
		return Activity{}
	}
	var a Activity
	var inside *hostfs.Dir
	for _, m := range n.members {
		used, ok := t.o.CPUTime(m.cg.Path)
		if !ok {
			return Activity{}
		}
		a.CPU += used
		if inside == nil {
			inside = m.dir
		}
	}
	if inside == nil {
		return Activity{}
	}
	a.Sockets, a.IsKnown = t.sockets(inside)
	return a
}

// sockets counts the TCP sockets of the namespace that a process is in.
func (t *Tracker) sockets(dir *hostfs.Dir) (int, bool) {
	if !t.content(dir, fileSockstat) {
		return 0, false
	}
	four, err := parseInUse(t.scratch, "TCP:")
	if !t.parsed(dir, fileSockstat, err) {
		return 0, false
	}
	b, err := dir.ReadFile(fileSockstat6, t.scratch)
	t.scratch = b
	if errors.Is(err, hostfs.ErrGone) {
		return four, true
	}
	if err != nil {
		t.problem(fileSockstat6, err, nil)
		return 0, false
	}
	six, err := parseInUse(b, "TCP6:")
	return four + six, t.parsed(dir, fileSockstat6, err)
}

// parseInUse finds the sockets of a protocol in net/sockstat or net/sockstat6
// (net/ipv4/proc.c, sockstat_seq_show, and net/ipv6/proc.c): those that listen, and
// ends of connections, of this namespace and IP version alone.
//
//	TCP: inuse 1 orphan 0 tw 2 alloc 1 mem 57
//	TCP6: inuse 2
func parseInUse(b []byte, protocol string) (int, error) {
	for line := range bytes.Lines(b) {
		values, ok := bytes.CutPrefix(bytes.TrimRight(line, "\n"), []byte(protocol))
		if !ok {
			continue
		}
		name, values := cutField(values)
		value, _ := cutField(values)
		if n, ok := number(value, 10); ok && string(name) == "inuse" {
			return int(n), nil
		}
		return 0, malformed(line)
	}
	return 0, fmt.Errorf("%s %w", protocol, ErrMalformed)
}
