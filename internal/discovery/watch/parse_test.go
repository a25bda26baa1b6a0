package watch

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

// As Linux 6.18 writes them.
const (
	tcpTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1541 1 000000008a5f4269 100 0 0 10 0
   1: 0B00007F:A001 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0
   2: 0100007F:9B2B 0100007F:D6D8 06 00000000:00000000 03:000002D5 00000000     0        0 0 3 00000000141400ec
`
	tcp6Table = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:18EB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1600 1 0
   1: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1601 1 0
`
	udpTable = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  10: 00000000:1FBD 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 2000 2 0 0
  11: 00000000:A0BD 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 2001 2 0 0
  12: 0200000A:1FBE 0300000A:0035 01 00000000:00000000 00:00000000 00000000     0        0 2002 2 0 0
`
	trieTable = `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
           |-- 127.0.0.1
              /32 host LOCAL
     +-- 172.17.0.0/16 2 0 2
           |-- 172.17.0.0
              /16 link UNICAST
           |-- 172.17.0.2
              /32 host LOCAL
        |-- 172.17.255.255
           /32 link BROADCAST
Local:
           |-- 172.17.0.2
              /32 host LOCAL
`
	inet6Table = `fe8000000000000000fc00fffe000001 04 40 20 80     eth0
fd000000000000000000000000000002 04 40 00 82     eth0
`
)

func TestScanTable(t *testing.T) {
	f := func(text, protocol string, want ...string) {
		t.Helper()
		var got []string
		for _, s := range scan(t, strings.NewReader(text), protocol) {
			got = append(got, fmt.Sprintf("%s %s %d", s.protocol, s.addr, s.inode))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(tcpTable, target.TCP, "tcp 0.0.0.0:2024 1541", "tcp 127.0.0.11:40961 77")
	f(tcp6Table, target.TCP, "tcp [::]:6379 1600", "tcp 127.0.0.1:80 1601")
	f(udpTable, target.UDP, "udp 0.0.0.0:8125 2000")
	f("", target.TCP)
	f("   0: 0:0 0:0 0A\n garbage\n", target.TCP)
	f("no number 00000000:0000 06 garbage\n"+tcpTable, target.TCP, "tcp 0.0.0.0:2024 1541", "tcp 127.0.0.11:40961 77")
}

func scan(t testing.TB, r io.Reader, protocol string) []socket {
	t.Helper()
	var all []socket
	if err := scanTable(r, protocol, make([]byte, 4096), func(s socket) { all = append(all, s) }); err != nil {
		t.Error(err)
	}
	return all
}

// busyTable is net/tcp of a container whose clients have come and gone.
func busyTable(connections int) string {
	var b strings.Builder
	b.WriteString(tcpTable)
	for n := range connections {
		fmt.Fprintf(&b, "%4d: 0100007F:07E8 0100007F:%04X 06 00000000:00000000 03:000002D5 00000000     0        0 0 3 00000000141400ec %49s\n", n+3, 1024+n, "")
	}
	return b.String()
}

// However many connections there are, those that listen are found, and nothing is
// read that is not needed for it.
func TestBusyTable(t *testing.T) {
	r := strings.NewReader(busyTable(30_000))
	if r.Len() < 4<<20 {
		t.Fatalf("%d bytes are not many", r.Len())
	}
	size := r.Len()
	if got := scan(t, r, target.TCP); len(got) != 2 {
		t.Errorf("%v", got)
	}
	if read := size - r.Len(); read > 4096 {
		t.Errorf("%d bytes were read", read)
	}
}

// A table of UDP has no order: if it has no end, the whole is not known.
func TestEndlessTable(t *testing.T) {
	line := strings.SplitAfter(udpTable, "\n")[3] // a client
	f := func(r io.Reader, protocol string) {
		t.Helper()
		if err := scanTable(r, protocol, make([]byte, 4096), func(socket) {}); err == nil {
			t.Error("read to the end")
		}
	}
	f(strings.NewReader(strings.Repeat(line, 1+maxTable/len(line))), target.UDP)
	f(strings.NewReader(strings.Repeat("0", 4096)), target.TCP)
	f(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(tcpTable))), target.TCP)
}

func TestParseAddresses(t *testing.T) {
	if got := fmt.Sprint(parseTrie([]byte(trieTable))); got != "[127.0.0.1 172.17.0.2]" {
		t.Error(got)
	}
	if got := fmt.Sprint(parseInet6([]byte(inet6Table + "fd00 04\n"))); got != "[fe80::fc:ff:fe00:1 fd00::2]" {
		t.Error(got)
	}
}

// What is found is a server with a port, and the same however the bytes come; foreign
// bytes find nothing else.
func FuzzScanTable(f *testing.F) {
	f.Add([]byte(tcpTable), true)
	f.Add([]byte(tcp6Table), true)
	f.Add([]byte(udpTable), false)
	f.Fuzz(func(t *testing.T, b []byte, isTCP bool) {
		protocol := target.UDP
		if isTCP {
			protocol = target.TCP
		}
		var whole, single []socket
		err := scanTable(bytes.NewReader(b), protocol, make([]byte, 4096), func(s socket) { whole = append(whole, s) })
		err2 := scanTable(iotest.OneByteReader(bytes.NewReader(b)), protocol, make([]byte, 4096), func(s socket) { single = append(single, s) })
		if (err == nil) != (err2 == nil) || !slices.Equal(whole, single) {
			t.Errorf("%v %v, byte by byte %v %v", whole, err, single, err2)
		}
		for _, s := range whole {
			if !s.addr.IsValid() || s.addr.Port() == 0 || s.protocol != protocol {
				t.Errorf("%+v", s)
			}
		}
	})
}

// Each address is valid and comes once.
func FuzzParseTrie(f *testing.F) {
	f.Add([]byte(trieTable))
	f.Fuzz(func(t *testing.T, b []byte) {
		seen := map[netip.Addr]bool{}
		for _, ip := range parseTrie(b) {
			if !ip.IsValid() || seen[ip] {
				t.Errorf("%v", ip)
			}
			seen[ip] = true
		}
	})
}

func FuzzParseInet6(f *testing.F) {
	f.Add([]byte(inet6Table))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, ip := range parseInet6(b) {
			if !ip.Is6() {
				t.Errorf("%v", ip)
			}
		}
	})
}
