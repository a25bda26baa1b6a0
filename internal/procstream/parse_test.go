package procstream

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Lines as Linux 6.1 and 6.18 write them.
const (
	statShell   = "4711 (bash) S 4700 4711 4711 34816 4720 4194304 1642 8732 0 3 2 1 10 5 20 0 1 0 123456 8286208 1290 18446744073709551615 94107 94108 140 0 0 0 65536 3686404 1266761467 1 0 0 17 1 0 0 0 0 0 94109 94110 94111 140 141 142 143 0\n"
	statKthread = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 24 0 0 18446744073709551615 0 0 0 0 0 0 0 2147483647 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
	statWorker  = "57 (kworker/u8:2-events_unbound) I 2 0 0 0 -1 69238880 0 0 0 0 0 9 0 0 20 0 1 0 31 0 0 18446744073709551615 0 0 0 0 0 0 0 2147483647 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
	statZombie  = "812 (sh) Z 800 812 800 0 -1 4227084 120 0 0 0 0 0 0 0 20 0 1 0 99999 0 0 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 256\n"

	statusNested = "Name:\tnginx\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4711\nPid:\t4711\nPPid:\t4700\nNStgid:\t4711\t17\t1\nNSpid:\t4711\t17\t1\nNSpgid:\t4711\t17\t1\nThreads:\t1\n"
	statusOld    = "Name:\tnginx\nState:\tS (sleeping)\nTgid:\t4711\nPid:\t4711\nThreads:\t1\n" // before 4.1
)

func TestParseStat(t *testing.T) {
	f := func(line string, want Stat) {
		t.Helper()
		got, err := parseStat([]byte(line))
		if err != nil {
			t.Errorf("%q: %v", line, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", line, diff)
		}
	}
	shell := Stat{PID: 4711, PPID: 4700, Start: 123456, Comm: "bash", RSS: 1290}
	f(statShell, shell)
	f(statKthread, Stat{PID: 2, Start: 24, Comm: "kthreadd"})
	f(statWorker, Stat{PID: 57, PPID: 2, Start: 31, Comm: "kworker/u8:2-events_unbound"})
	f(statZombie, Stat{PID: 812, PPID: 800, Start: 99999, Comm: "sh", Ended: true})

	for _, comm := range []string{"", " ", "a b", ")", "(", "a) Z 1 (", "a)\nb", "\n", "((sd-pam))", "\xc3"} {
		named := shell
		named.Comm = strings.ToValidUTF8(comm, "\uFFFD")
		f(strings.Replace(statShell, "bash", comm, 1), named)
	}
}

func TestParseStatEnded(t *testing.T) {
	f := func(state, flags string, want bool) {
		t.Helper()
		line := strings.Replace(statShell, ") S ", ") "+state+" ", 1)
		line = strings.Replace(line, " 4194304 ", " "+flags+" ", 1)
		got, err := parseStat([]byte(line))
		if err != nil || got.Ended != want {
			t.Errorf("state %s, flags %s: ended %v, %v", state, flags, got.Ended, err)
		}
	}
	for _, state := range []string{"R", "S", "D", "T", "t", "I", "P"} {
		f(state, "4194304", false)
		f(state, "4194308", true) // PF_EXITING
		f(state, "4", true)
	}
	f("Z", "4194304", true)
	f("X", "4194304", true)
	f("R", "4294967291", false) // every flag but that one
	f("R", "4294967295", true)
}

func TestParseStatMalformed(t *testing.T) {
	f := func(line string) {
		t.Helper()
		got, err := parseStat([]byte(line))
		if !errors.Is(err, ErrMalformed) || got != (Stat{}) {
			t.Errorf("%q: %+v, %v", line, got, err)
		}
	}
	for _, line := range []string{"", "\n", ")", "(", " ()", "4711", "4711 bash S 1", "4711 )bash( S", "4711 (bash)", "4711 (bash) S 1 2 3"} {
		f(line)
	}
	replace := func(old, with string) { f(strings.Replace(statShell, old, with, 1)) }
	replace("4711 (", "4711(")
	replace("4711 (", "471x (")
	replace("4711 (", "-4711 (")
	replace("4711 (", "99999999999 (")
	replace(") S ", ") Sx ")
	replace(" 4700 ", " -1 ")
	replace(" 4700 ", " x ")
	replace(" 4194304 ", " -1 ")
	replace(" 123456 ", " 12x ")
	replace(" 1290 ", " -1 ")
}

func TestMalformedQuotesTheBeginning(t *testing.T) {
	_, err := parseStat([]byte(strings.Repeat("x", 1000)))
	if want := `stat "` + strings.Repeat("x", 64) + `": malformed`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestParseVPID(t *testing.T) {
	f := func(status string, want int) {
		t.Helper()
		if got, err := parseVPID([]byte(status)); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", status, got, err, want)
		}
	}
	f(statusNested, 1)
	f(strings.Replace(statusNested, "NSpid:\t4711\t17\t1\n", "NSpid:\t4711\n", 1), 4711)
	f(statusOld, 0)
	f("", 0)
	f("NSpid:\t8", 8)                       // no line end
	f("Name:\tNSpid:\t5\nNSpid:\t6\n", 6)   // a command may be called so
	f("Name:\ta\\nNSpid:\t5\nNSpid:\t6", 6) // line ends in it are escaped
	f("XNSpid:\t5\nNSpidX:\t6\n", 0)
}

func TestParseVPIDMalformed(t *testing.T) {
	for _, value := range []string{"", "\t", "\t4711\tx", "\t-1", "\t99999999999999999999"} {
		status := strings.Replace(statusNested, "NSpid:\t4711\t17\t1", "NSpid:"+value, 1)
		if got, err := parseVPID([]byte(status)); !errors.Is(err, ErrMalformed) || got != 0 {
			t.Errorf("NSpid:%q: %d, %v", value, got, err)
		}
	}
}

func TestParsePids(t *testing.T) {
	f := func(procs string, want ...int) {
		t.Helper()
		got, err := parsePids([]byte(procs), []int{7})
		if diff := cmp.Diff(append([]int{7}, want...), got); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", procs, err, diff)
		}
	}
	f("")
	f("1\n", 1)
	f("1\n22\n4194304\n", 1, 22, 4194304)
	f("1\n22", 1, 22)
	f("0\n")
	f("0\n5\n0\n0\n6\n", 5, 6)
}

func TestParsePidsMalformed(t *testing.T) {
	for _, procs := range []string{"\n", "1\n\n2\n", "x\n", "-1\n", " 1\n", "1 2\n", "2147483648\n", "\x00"} {
		if got, err := parsePids([]byte(procs), nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v, %v", procs, got, err)
		}
	}
}
