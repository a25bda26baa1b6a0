package netns

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// ErrMalformed says that a kernel file did not have its documented form.
var ErrMalformed = errors.New("malformed")

func malformed(b []byte) error {
	return fmt.Errorf("%q: %w", b[:min(len(b), 64)], ErrMalformed)
}

// cutField returns the first word of a line and the rest behind it.
func cutField(b []byte) (word, rest []byte) {
	b = bytes.TrimLeft(b, " \t")
	end := bytes.IndexAny(b, " \t")
	if end < 0 {
		return b, nil
	}
	return b[:end], b[end:]
}

// number does not allocate: the compiler keeps the string on the stack.
func number(b []byte, base int) (uint64, bool) {
	n, err := strconv.ParseUint(string(b), base, 64)
	return n, err == nil
}

// device is one line of net/dev. Its name is part of the text it came from.
type device struct {
	name              []byte
	receive, transmit Counters
}

// devHeader is the number of lines that explain the columns.
const devHeader = 2

// parseDev takes the header off net/dev:
//
//	Inter-|   Receive                            ...  |  Transmit
//	 face |bytes    packets errs drop fifo frame ...  |bytes    packets ...
//	  eth0: 1296 16 0 0 0 0 0 0 0 0 0 0 0 0 0 0
//
// What is left is for [cutDevice].
func parseDev(b []byte) ([]byte, error) {
	for range devHeader {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok || bytes.Count(line, []byte("|")) != devHeader {
			return nil, malformed(line)
		}
		b = rest
	}
	return b, nil
}

// Positions of the columns (net/core/net-procfs.c, dev_seq_printf_stats).
// The receive column drop includes the missed packets.
const (
	devReceive  = 0
	devTransmit = 8
	devColumns  = 16

	devBytes, devPackets, devErrors, devDropped = 0, 1, 2, 3
)

// cutDevice takes the first interface off the lines of net/dev.
func cutDevice(b []byte) (device, []byte, error) {
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	name, values, ok := bytes.Cut(line, []byte(":"))
	name = bytes.TrimLeft(name, " ")
	if !ok || len(name) == 0 {
		return device{}, nil, malformed(line)
	}
	var column [devColumns]uint64
	for i := range column {
		var word []byte
		word, values = cutField(values)
		if column[i], ok = number(word, 10); !ok {
			return device{}, nil, malformed(line)
		}
	}
	direction := func(from int) Counters {
		return Counters{
			Bytes: column[from+devBytes], Packets: column[from+devPackets],
			Errors: column[from+devErrors], Dropped: column[from+devDropped],
		}
	}
	return device{name: name, receive: direction(devReceive), transmit: direction(devTransmit)}, rest, nil
}

// field is where a value goes.
type field func(*Sample) *uint64

// protocol is what is wanted of one protocol's columns.
type protocol struct {
	name   string
	fields map[string]field
}

// snmpFields are the wanted columns of net/snmp.
var snmpFields = []protocol{
	{"Tcp", map[string]field{
		"ActiveOpens":  func(s *Sample) *uint64 { return &s.TCP.ActiveOpens },
		"PassiveOpens": func(s *Sample) *uint64 { return &s.TCP.PassiveOpens },
		"EstabResets":  func(s *Sample) *uint64 { return &s.TCP.EstabResets },
		"CurrEstab":    func(s *Sample) *uint64 { return &s.TCP.Established },
		"RetransSegs":  func(s *Sample) *uint64 { return &s.TCP.RetransSegs },
	}},
	{"Udp", udpFields},
}

// netstatFields are the wanted columns of net/netstat.
var netstatFields = []protocol{
	{"TcpExt", map[string]field{
		"ListenOverflows": func(s *Sample) *uint64 { return &s.TCP.ListenOverflows },
		"ListenDrops":     func(s *Sample) *uint64 { return &s.TCP.ListenDrops },
	}},
}

// udpFields are named the same in net/snmp and, behind "Udp6", in net/snmp6.
var udpFields = map[string]field{
	"InDatagrams":  func(s *Sample) *uint64 { return &s.UDP.InDatagrams },
	"OutDatagrams": func(s *Sample) *uint64 { return &s.UDP.OutDatagrams },
	"NoPorts":      func(s *Sample) *uint64 { return &s.UDP.NoPorts },
	"InErrors":     func(s *Sample) *uint64 { return &s.UDP.InErrors },
	"RcvbufErrors": func(s *Sample) *uint64 { return &s.UDP.RcvbufErrors },
	"SndbufErrors": func(s *Sample) *uint64 { return &s.UDP.SndbufErrors },
	"InCsumErrors": func(s *Sample) *uint64 { return &s.UDP.InCsumErrors },
}

// parseTable reads net/snmp and net/netstat: two lines for each protocol, its
// column names and their values.
//
//	Udp: InDatagrams NoPorts InErrors ...
//	Udp: 133 0 0 ...
//
// Columns that are not wanted are skipped: kernels add some, and some values
// may be negative. A protocol that is wanted must be there.
func parseTable(b []byte, wanted []protocol, s *Sample) error {
	var found uint // a bit for each of the wanted
	for len(b) > 0 {
		names, rest, _ := bytes.Cut(b, []byte("\n"))
		values, rest, ok := bytes.Cut(rest, []byte("\n"))
		b = rest
		name, names, ok2 := bytes.Cut(names, []byte(":"))
		again, values, ok3 := bytes.Cut(values, []byte(":"))
		if !ok || !ok2 || !ok3 || !bytes.Equal(name, again) {
			return malformed(name)
		}
		i := slices.IndexFunc(wanted, func(p protocol) bool { return p.name == string(name) })
		if i < 0 {
			continue
		}
		found |= 1 << i
		if err := parseColumns(names, values, wanted[i].fields, s); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if found != 1<<len(wanted)-1 {
		return fmt.Errorf("a protocol is missing: %w", ErrMalformed)
	}
	return nil
}

func parseColumns(names, values []byte, fields map[string]field, s *Sample) error {
	for len(names) > 0 {
		var name, value []byte
		name, names = cutField(names)
		value, values = cutField(values)
		at := fields[string(name)]
		if at == nil {
			continue
		}
		n, ok := number(value, 10)
		if !ok {
			return fmt.Errorf("%s: %w", name, malformed(value))
		}
		*at(s) += n
	}
	return nil
}

// parseSNMP6 adds the UDP counters of IPv6, one on each line:
//
//	Udp6InDatagrams                  	5
func parseSNMP6(b []byte, s *Sample) error {
	for line := range bytes.Lines(b) {
		name, ok := bytes.CutPrefix(bytes.TrimRight(line, "\n"), []byte("Udp6"))
		if !ok {
			continue
		}
		name, value := cutField(name)
		at := udpFields[string(name)]
		if at == nil {
			continue
		}
		n, ok := number(bytes.TrimSpace(value), 10)
		if !ok {
			return malformed(line)
		}
		*at(s) += n
	}
	return nil
}

// parseSockstat finds the sockets in TIME_WAIT, of both IP versions. The
// others of its numbers are of all namespaces, or of IPv4 alone.
//
//	TCP: inuse 1 orphan 0 tw 2 alloc 1 mem 57
func parseSockstat(b []byte) (timeWait uint64, err error) {
	for line := range bytes.Lines(b) {
		values, ok := bytes.CutPrefix(bytes.TrimRight(line, "\n"), []byte("TCP:"))
		if !ok {
			continue
		}
		for len(values) > 0 {
			var name, value []byte
			name, values = cutField(values)
			value, values = cutField(values)
			if string(name) != "tw" {
				continue
			}
			if n, ok := number(value, 10); ok {
				return n, nil
			}
		}
		return 0, malformed(line)
	}
	return 0, fmt.Errorf("TCP: %w", ErrMalformed)
}

// parseConntrack reads the first column of the first processor in
// net/stat/nf_conntrack: the entries of this namespace, in hexadecimal.
func parseConntrack(b []byte) (uint64, error) {
	header, rest, _ := bytes.Cut(b, []byte("\n"))
	if name, _ := cutField(header); string(name) != "entries" {
		return 0, malformed(header)
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	word, _ := cutField(line)
	n, ok := number(word, 16)
	if !ok {
		return 0, malformed(line)
	}
	return n, nil
}
