package netns

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// devices parses a whole net/dev.
func devices(text string) ([]device, error) {
	lines, err := parseDev([]byte(text))
	var all []device
	for err == nil && len(lines) > 0 {
		var d device
		if d, lines, err = cutDevice(lines); err == nil {
			all = append(all, d)
		}
	}
	return all, err
}

const devHead = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n"

func TestParseDev(t *testing.T) {
	f := func(lines string, want ...device) {
		t.Helper()
		got, err := devices(devHead + lines)
		require.NoError(t, err)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(device{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	one := device{name: []byte("eth0"), receive: Counters{1, 2, 3, 4}, transmit: Counters{9, 10, 11, 12}}
	f("")
	f("  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n", one)
	f("eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", one) // wide numbers leave no blank; no line end
	f(" eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n", one)
	f("    lo: 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
		device{name: []byte("lo"), receive: Counters{Bytes: 1<<64 - 1}})

	refuse := func(text string) {
		t.Helper()
		_, err := devices(text)
		require.ErrorIs(t, err, ErrMalformed, "%q", text)
	}
	refuse("")
	refuse("eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n")
	refuse(devHead + "eth0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n")
	refuse(devHead + "eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n")
	refuse(devHead + "eth0: 1 2 3 -4 5 6 7 8 9 10 11 12 13 14 15 16\n")
	refuse(devHead + ": 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n")
	refuse(devHead + "\n")
}

func TestParseTable(t *testing.T) {
	const udp = "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors\nUdp: 1 2 9 3 4 5 6\n"
	const tcp = "Tcp: MaxConn ActiveOpens PassiveOpens EstabResets CurrEstab RetransSegs New\nTcp: -1 1 2 3 4 5 6\n"
	want := Sample{
		TCP: TCP{ActiveOpens: 1, PassiveOpens: 2, EstabResets: 3, Established: 4, RetransSegs: 5},
		UDP: UDP{InDatagrams: 1, NoPorts: 2, InErrors: 9, OutDatagrams: 3, RcvbufErrors: 4, SndbufErrors: 5, InCsumErrors: 6},
	}
	f := func(text string) {
		t.Helper()
		var got Sample
		require.NoError(t, parseTable([]byte(text), snmpFields, &got))
		require.Equal(t, want, got)
	}
	f(tcp + udp)
	f("IcmpMsg:\nIcmpMsg:\n" + udp + "UdpLite: InDatagrams\nUdpLite: 77\n" + tcp)

	refuse := func(text string) {
		t.Helper()
		var got Sample
		require.ErrorIs(t, parseTable([]byte(text), snmpFields, &got), ErrMalformed, "%q", text)
	}
	refuse("")
	refuse(tcp)
	refuse(tcp + tcp)
	refuse(strings.Replace(tcp, "Tcp: -1", "Udp: -1", 1) + udp)
	refuse(strings.Replace(tcp, " 5 6", "", 1) + udp) // a value is missing
	refuse(tcp + strings.Replace(udp, " 9 ", " x ", 1))
	refuse(tcp + "Udp: InDatagrams\n")
	refuse(tcp + "Udp InDatagrams\nUdp 1\n")

	var got Sample
	require.NoError(t, parseTable([]byte("TcpExt: A ListenOverflows ListenDrops\nTcpExt: 1 2 3\nIpExt: X\nIpExt: 1\n"), netstatFields, &got))
	require.Equal(t, TCP{ListenOverflows: 2, ListenDrops: 3}, got.TCP)
}

func TestParseSNMP6Adds(t *testing.T) {
	got := Sample{UDP: UDP{InDatagrams: 100}}
	require.NoError(t, parseSNMP6([]byte("Ip6InReceives\t1\nUdp6InDatagrams   \t5\nUdp6OutDatagrams\t6\nUdp6MemErrors\t7\nUdpLite6InDatagrams\t8\n"), &got))
	require.Equal(t, UDP{InDatagrams: 105, OutDatagrams: 6}, got.UDP)
	require.NoError(t, parseSNMP6(nil, &got))
	require.ErrorIs(t, parseSNMP6([]byte("Udp6InDatagrams\tmany\n"), &got), ErrMalformed)
	require.ErrorIs(t, parseSNMP6([]byte("Udp6InDatagrams"), &got), ErrMalformed)
}

func TestParseSockstat(t *testing.T) {
	f := func(text string, want uint64, wantErr error) {
		t.Helper()
		got, err := parseSockstat([]byte(text))
		require.ErrorIs(t, err, wantErr)
		require.Equal(t, want, got)
	}
	f("sockets: used 3\nTCP: inuse 1 orphan 0 tw 12 alloc 1 mem 57\n", 12, nil)
	f("TCP: tw 7", 7, nil)
	f("sockets: used 3\n", 0, ErrMalformed)
	f("TCP: inuse 1 orphan 0\n", 0, ErrMalformed)
	f("TCP: inuse 1 tw\n", 0, ErrMalformed)
}

func TestParseConntrack(t *testing.T) {
	f := func(text string, want uint64, wantErr error) {
		t.Helper()
		got, err := parseConntrack([]byte(text))
		require.ErrorIs(t, err, wantErr)
		require.Equal(t, want, got)
	}
	f("entries  clashres found\n0000001f  00000000 00000001\n0000001f  00000000 00000002\n", 31, nil)
	f("entries  clashres found\n", 0, ErrMalformed)
	f("searched found\n1 2\n", 0, ErrMalformed)
	f("entries\nxyz\n", 0, ErrMalformed)
	f("", 0, ErrMalformed)
}

// What a real kernel wrote.
func TestParseRecorded(t *testing.T) {
	read := func(file string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", "linux-6.18", file))
		require.NoError(t, err)
		return b
	}
	all, err := devices(string(read(fileDev)))
	require.NoError(t, err)
	require.Len(t, all, 4)
	require.Equal(t, "eth0", string(all[3].name))
	require.Equal(t, Counters{Bytes: 540927960, Packets: 28732}, all[3].receive)
	require.Equal(t, Counters{Bytes: 2111830, Packets: 22085}, all[3].transmit)

	var s Sample
	require.NoError(t, parseTable(read(fileSNMP), snmpFields, &s))
	require.NoError(t, parseTable(read(fileNetstat), netstatFields, &s))
	require.NoError(t, parseSNMP6(read(fileSNMP6), &s))
	require.NotZero(t, s.TCP.ActiveOpens)
	require.NotZero(t, s.UDP.OutDatagrams)
	_, err = parseSockstat(read(fileSockstat))
	require.NoError(t, err)
	_, err = parseConntrack(read(fileConntrack))
	require.NoError(t, err)
}

// FuzzParse: any text is parsed or refused as malformed; a list of interfaces
// that is accepted, written again in its canonical form, says the same.
func FuzzParse(f *testing.F) {
	for _, file := range []string{fileDev, fileSNMP, fileNetstat, fileSNMP6, fileSockstat, fileConntrack} {
		b, err := os.ReadFile(filepath.Join("testdata", "linux-6.18", file))
		require.NoError(f, err)
		f.Add(string(b))
	}
	f.Add(devHead + "  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n")
	f.Fuzz(func(t *testing.T, text string) {
		var s Sample
		_, err := parseSockstat([]byte(text))
		_, err2 := parseConntrack([]byte(text))
		for _, err := range []error{
			err, err2,
			parseTable([]byte(text), snmpFields, &s),
			parseTable([]byte(text), netstatFields, &s),
			parseSNMP6([]byte(text), &s),
		} {
			if err != nil && !errors.Is(err, ErrMalformed) {
				t.Errorf("error of another kind: %v", err)
			}
		}
		got, err := devices(text)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		again, err := devices(devHead + canonical(got))
		require.NoError(t, err)
		if diff := cmp.Diff(got, again, cmp.AllowUnexported(device{})); diff != "" {
			t.Errorf("(-first +again):\n%s", diff)
		}
	})
}
