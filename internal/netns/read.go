package netns

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// The files below /proc/PID, and the name under which the limit is counted.
const (
	fileDev       = "net/dev"
	fileSNMP      = "net/snmp"
	fileNetstat   = "net/netstat"
	fileSNMP6     = "net/snmp6"
	fileSockstat  = "net/sockstat"
	fileConntrack = "net/stat/nf_conntrack"
	fileLimit     = "sys/net/netfilter/nf_conntrack_max"
)

// Read renews the sample of a namespace: its interfaces, and if protocols is
// set or it is new the rest, which costs eight times as much. It returns false
// if the namespace went meanwhile; what was read until then is in the sample.
func (t *Tracker) Read(n *Namespace, protocols bool) bool {
	now := t.o.Now()
	n.Sample.Have = 0
	for i := 0; ; i++ {
		dir := t.directory(n, i)
		if dir == nil {
			break
		}
		if !t.readDevices(n, dir, now) {
			continue
		}
		if protocols || n.slowAt.IsZero() {
			t.readProtocols(n, dir, now)
		}
		return true
	}
	t.remember(func(s *Stats) { s.Vanished++ })
	return false
}

// content reads one file. It reports whether there is something to parse.
func (t *Tracker) content(dir *hostfs.Dir, file string) bool {
	b, err := dir.ReadFile(file, t.scratch)
	t.scratch = b
	if err != nil && !errors.Is(err, hostfs.ErrGone) {
		t.problem(file, err, nil)
	}
	return err == nil
}

// parsed counts what parsing a file gave, and reports whether it went well.
func (t *Tracker) parsed(dir *hostfs.Dir, file string, err error) bool {
	if err != nil {
		t.problem(file, nil, fmt.Errorf("parse %s/%s: %w", dir.Path(), file, err))
	}
	return err == nil
}

// readDevices reads net/dev. It returns false if the process has gone.
func (t *Tracker) readDevices(n *Namespace, dir *hostfs.Dir, now time.Time) bool {
	if !t.content(dir, fileDev) {
		return false
	}
	lines, err := parseDev(t.scratch)
	next, dropped := n.spare[:0], uint64(0)
	for err == nil && len(lines) > 0 {
		var d device
		d, lines, err = cutDevice(lines)
		if err != nil {
			break
		}
		if len(next) >= mostInterfaces {
			dropped++
			continue
		}
		next = append(next, n.renew(d, len(next)))
	}
	if !t.parsed(dir, fileDev, err) {
		return true
	}
	n.Sample.Interfaces, n.spare = next, n.Sample.Interfaces
	n.Sample.Have |= PartDevices
	n.readAt = now
	if n.Host {
		t.scratch = t.links.mark(next, t.scratch)
	}
	if dropped > 0 {
		t.remember(func(s *Stats) { s.DroppedInterfaces += dropped })
	}
	return true
}

// renew makes an interface of its line, the i-th. Its counting began with the
// namespace, or if it was not there at the last read or had higher counters,
// at that read: it was made, or made again, since.
func (n *Namespace) renew(d device, i int) Interface {
	was := n.interfaceNamed(d.name, i)
	now := Interface{Receive: d.receive, Transmit: d.transmit, Start: n.readAt, fresh: true}
	if was == nil {
		now.Name = string(d.name)
		if n.readAt.IsZero() {
			now.Start = n.Start
		}
		return now
	}
	now.Name = was.Name
	if !d.receive.less(was.Receive) && !d.transmit.less(was.Transmit) {
		now.Start, now.Pair, now.fresh = was.Start, was.Pair, false
	}
	return now
}

// interfaceNamed finds an interface of the last read, most likely the i-th.
func (n *Namespace) interfaceNamed(name []byte, i int) *Interface {
	list := n.Sample.Interfaces
	if i < len(list) && list[i].Name == string(name) {
		return &list[i]
	}
	for i := range list {
		if list[i].Name == string(name) {
			return &list[i]
		}
	}
	return nil
}

// readProtocols reads the rest. A file that is not there (IPv6 or conntrack
// are off) is no problem; one that cannot be parsed costs its own part.
func (t *Tracker) readProtocols(n *Namespace, dir *hostfs.Dir, now time.Time) {
	var next Sample
	have := Part(0)
	if t.content(dir, fileSNMP) && t.parsed(dir, fileSNMP, parseTable(t.scratch, snmpFields, &next)) {
		have |= PartSNMP
	}
	if have&PartSNMP != 0 && t.readIPv6(n, dir, &next) {
		have |= PartUDP
	}
	if t.content(dir, fileNetstat) && t.parsed(dir, fileNetstat, parseTable(t.scratch, netstatFields, &next)) {
		have |= PartNetstat
	}
	if t.content(dir, fileSockstat) {
		waiting, err := parseSockstat(t.scratch)
		if t.parsed(dir, fileSockstat, err) {
			next.TCP.TimeWait = waiting
			have |= PartSockstat
		}
	}
	if t.content(dir, fileConntrack) {
		count, err := parseConntrack(t.scratch)
		if t.parsed(dir, fileConntrack, err) {
			next.Conntrack = Conntrack{Count: count, Limit: t.conntrackLimit()}
			have |= PartConntrack
		}
	}
	if anyLess(next.counters(have), n.Sample.counters(have)) {
		n.Start = n.slowAt // another namespace got the number
	}
	n.Sample.Have |= have
	n.Sample.TCP, n.Sample.UDP, n.Sample.Conntrack = next.TCP, next.UDP, next.Conntrack
	n.slowAt = now
}

// readIPv6 adds UDP over IPv6. It returns false if that is missing from a sum
// it once was in.
func (t *Tracker) readIPv6(n *Namespace, dir *hostfs.Dir, next *Sample) bool {
	if !t.content(dir, fileSNMP6) {
		return !n.hasIPv6
	}
	n.hasIPv6 = true
	return t.parsed(dir, fileSNMP6, parseSNMP6(t.scratch, next))
}

// conntrackLimit is the same for all namespaces; 0 if it cannot be read.
func (t *Tracker) conntrackLimit() uint64 {
	b, err := hostfs.ReadFile(filepath.Join(t.o.Roots.Proc, fileLimit), t.scratch)
	t.scratch = b
	if errors.Is(err, hostfs.ErrGone) {
		return 0
	}
	if err != nil {
		t.problem(fileLimit, err, nil)
		return 0
	}
	limit, ok := number(trimLine(b), 10)
	if !ok {
		t.problem(fileLimit, nil, malformed(b))
	}
	return limit
}
