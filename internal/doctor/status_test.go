package doctor

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	statusRoot  = "Name:\tx\nCapPrm:\t0\nCapEff:\t000001ffffffffff\nSeccomp:\t0\nSeccomp_filters:\t0\n"
	statusPlain = "CapInh:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\nSeccomp:\t2\n"
	statusOld   = "CapEff:\t0000003fffffffff\n" // a kernel without seccomp
)

func TestParseStatus(t *testing.T) {
	f := func(text string, want status) {
		t.Helper()
		got, err := parseStatus([]byte(text))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	f(statusRoot, status{effective: 0x1ffffffffff, hasSeccomp: true})
	f(statusPlain, status{seccomp: 2, hasSeccomp: true})
	f(statusOld, status{effective: 0x3fffffffff})
	for _, text := range []string{"", "Seccomp:\t0\n", "CapEff:\t\n", "CapEff:\t-1\n", "CapEff:\txyz\n", "CapEff:\t0\nSeccomp:\tx\n", "CapEff:\t1ffffffffffffffff\n"} {
		if s, err := parseStatus([]byte(text)); err == nil || s != (status{}) {
			t.Errorf("%q gives %+v, %v", text, s, err)
		}
	}
}

// What is read of a status stands in one of its lines, and lines that do not
// matter change nothing.
func FuzzParseStatus(f *testing.F) {
	for _, text := range []string{statusRoot, statusPlain, statusOld, "", "CapEff", "CapEff:1\nCapEff:2"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseStatus(b)
		if err != nil {
			require.Equal(t, status{}, s)
			return
		}
		require.Contains(t, string(b), "CapEff")
		require.Equal(t, s.hasSeccomp, strings.Contains("\n"+string(b), "\nSeccomp:"))
		again, err := parseStatus(append([]byte("Name:\tCapEff: 0\nSeccomp_filters:\t7\n"), b...))
		require.NoError(t, err)
		require.Equal(t, s, again)
	})
}

func TestJudgeCapability(t *testing.T) {
	held := func(bits ...int) (c capabilities) {
		for _, bit := range bits {
			c |= 1 << bit
		}
		return c
	}
	f := func(id string, c capabilities, counts bool) string {
		t.Helper()
		for _, w := range wantedCapabilities {
			if w.id == id {
				r := w.judge(c, counts)
				checkResult(t, r)
				return string(r.Status) + ": " + r.Found
			}
		}
		return "not asked for"
	}
	const itself, none, inside = "pass: held", "warn: not held", "warn: held, but only within a user namespace"
	instead := func(name string) string { return "pass: not held, but " + name + " is, which does as well" }
	require.Equal(t, itself, f("capability.bpf", held(39), true))
	require.Equal(t, instead("CAP_SYS_ADMIN"), f("capability.bpf", held(21), true))
	require.Equal(t, none, f("capability.bpf", held(38), true))
	require.Equal(t, itself, f("capability.perfmon", held(38), true))
	require.Equal(t, itself, f("capability.sys_ptrace", held(19), true))
	require.Equal(t, none, f("capability.sys_ptrace", held(21), true))
	require.Equal(t, itself, f("capability.dac_read_search", held(2), true))
	require.Equal(t, instead("CAP_DAC_OVERRIDE"), f("capability.dac_read_search", held(1), true))
	require.Equal(t, none, f("capability.dac_read_search", 0, true))
	require.Equal(t, inside, f("capability.bpf", held(39), false))
	require.Equal(t, inside, f("capability.bpf", held(21), false))
	require.Equal(t, none, f("capability.bpf", 0, false))
}

func TestJudgeSeccomp(t *testing.T) {
	f := func(s status, answer error, want Status, found string) {
		t.Helper()
		r := named(t, judgeSeccomp(s, answer))
		require.Equal(t, want, r.Status, "%+v", r)
		require.Contains(t, r.Found, found)
	}
	filtered := status{seccomp: 2, hasSeccomp: true}
	able := filtered
	able.effective = 1 << unix.CAP_BPF
	f(status{}, unix.EPERM, Pass, "not in this kernel")
	f(status{hasSeccomp: true}, unix.EPERM, Pass, "off")
	f(filtered, unix.EINVAL, Pass, "lets bpf(2) pass")
	f(filtered, unix.EPERM, Warn, "it or the missing CAP_BPF")
	f(filtered, unix.ENOSYS, Warn, "a filter that refuses")
	f(able, unix.EPERM, Warn, "a filter that refuses")
}

// Without a filter the kernel itself answers a command it does not have.
func TestAskBPF(t *testing.T) {
	if err := askBPF(); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSYS) {
		t.Errorf("bpf(2): %v", err)
	}
}
