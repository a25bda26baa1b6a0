package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// tcpTable is of a kernel 6.1 on x86-64, as bytes of that machine.
const tcpTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 21034 1 0000000000000000 100 0 0 10 0
   1: 020011AC:C350 030011AC:18EB 01 00000010:00000020 00:00000000 00000000  1000        0 21035 1 0000000000000000 20 4 30 10 -1
   2: 020011AC:C351 030011AC:18EB 06 00000000:00000000 03:00000F9A 00000000     0        0 0 3 0000000000000000
   3: nonsense
`

const tcp6Table = `  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   1: 0000000000000000FFFF0000020011AC:0050 0000000000000000FFFF0000030011AC:C350 08 00000000:00000000 00:00000000
`

func TestParseTCP(t *testing.T) {
	ns := Netns{States: map[string]int{}}
	parseTCP([]byte(tcpTable), &ns)
	parseTCP([]byte(tcp6Table), &ns)
	want := Netns{
		States: map[string]int{"LISTEN": 2, "ESTABLISHED": 1, "TIME_WAIT": 1, "CLOSE_WAIT": 1},
		Listen: []string{"127.0.0.1:8080", "[::]:80"},
		Open: []Socket{
			{Local: "172.17.0.2:50000", Remote: "172.17.0.3:6379", State: "ESTABLISHED", Send: 16, Receive: 32},
			{Local: "172.17.0.2:80", Remote: "172.17.0.3:50000", State: "CLOSE_WAIT"},
		},
	}
	if diff := cmp.Diff(want, ns); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestSocketsAreBounded(t *testing.T) {
	line := strings.Split(tcpTable, "\n")[2] + "\n"
	ns := Netns{States: map[string]int{}}
	parseTCP([]byte(strings.Repeat(line, maxOpen+7)), &ns)
	require.Len(t, ns.Open, maxOpen)
	require.Equal(t, maxOpen+7, ns.States["ESTABLISHED"], "all are counted")
}

func FuzzParseTCP(f *testing.F) {
	f.Add([]byte(tcpTable))
	f.Add([]byte(tcp6Table))
	f.Fuzz(func(t *testing.T, b []byte) {
		ns := Netns{States: map[string]int{}}
		parseTCP(b, &ns)
		total := 0
		for state, n := range ns.States {
			if state == "" || n <= 0 {
				t.Errorf("state %q: %d", state, n)
			}
			total += n
		}
		if len(ns.Open)+len(ns.Listen) > total || len(ns.Open) > maxOpen || len(ns.Listen) > maxListen {
			t.Errorf("%d open, %d listen of %d", len(ns.Open), len(ns.Listen), total)
		}
	})
}

func TestParseStatus(t *testing.T) {
	var p Process
	parseStatus([]byte("Name:\tapp\nState:\tS (sleeping)\nUid:\t1000\t1000\t1000\t1000\nNSpid:\t4711\t7\nVmSwap:\t      12 kB\nThreads:\t3\nOdd\nUid2:\n"), &p)
	require.Equal(t, Process{State: "S", UID: 1000, VPID: 7, Swap: 12 << 10, Threads: 3}, p)
}

func TestSplitCmdline(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		require.Equal(t, want, splitCmdline([]byte(line)))
	}
	f("")
	f("\x00\x00")
	f("app\x00-v\x00\x00x\x00", "app", "-v", "", "x")
	f("nginx: worker process\x00\x00\x00", "nginx: worker process")
	require.Len(t, splitCmdline([]byte(strings.Repeat("a\x00", 100))), maxArgs+1)
	long := splitCmdline([]byte(strings.Repeat("a", maxCmdline+1)))
	require.Equal(t, []string{strings.Repeat("a", maxCmdline), "..."}, long)
}

func TestParseRecord(t *testing.T) {
	since, text, ok := parseRecord([]byte("6,339,5140900,-;NET: Registered\n SUBSYSTEM=net\n"))
	require.True(t, ok)
	require.Equal(t, 5140900*time.Microsecond, since)
	require.Equal(t, "NET: Registered", text)
	for _, broken := range []string{"", "6,339", "6,339;x", "6,339,x,-;y", "6,339,-1,-;y"} {
		_, _, ok := parseRecord([]byte(broken))
		require.False(t, ok, "%q", broken)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte("6,339,5140900,-;NET: Registered\n SUBSYSTEM=net\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		since, text, ok := parseRecord(b)
		if ok && (since < 0 || strings.Contains(text, "\n")) {
			t.Errorf("%v %q", since, text)
		}
	})
}

func TestReporter(t *testing.T) {
	log := []string{
		"eth0: link up",
		"python invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
		"memory: usage 65536kB, limit 65536kB, failcnt 9",
		"Memory cgroup out of memory: Killed process 211 (python) total-vm:81920kB",
		"eth0: link down",
		"oom_reaper: reaped process 211 (python), now anon-rss:0kB",
	}
	var r reporter
	for _, line := range log {
		r.line(line)
	}
	require.Equal(t, strings.Join([]string{log[1], log[2], log[3], log[5]}, "\n")+"\n", r.text())
}

// A plain file in the place of the device holds one record.
func TestReadOOMOfAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kmsg")
	require.NoError(t, os.WriteFile(path, []byte("6,1,1000000,-;Memory cgroup out of memory: Killed process 2 (x)\n"), 0o600))
	text, err := ReadOOM(path, time.Time{})
	require.NoError(t, err)
	require.Equal(t, "Memory cgroup out of memory: Killed process 2 (x)\n", text)
	text, err = ReadOOM(path, time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Empty(t, text, "older than what was asked for")
	_, err = ReadOOM(path+"x", time.Time{})
	require.ErrorContains(t, err, "kmsgx")
}
