package nat

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/ownthread"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestOpen(t *testing.T) {
	r, choice, err := Open(Options{Mode: ModeOff})
	require.NoError(t, err)
	require.Equal(t, ModeOff, choice.Mode)
	require.Equal(t, Answer{}, resolveOne(t, r, Namespace{}, cacheQuery(1)))
	require.Equal(t, Stats{Lookups: 1, Misses: 1}, r.Stats())
	require.NoError(t, r.Close())

	_, _, err = Open(Options{Mode: "best"})
	require.ErrorContains(t, err, `"best"`)
	_, _, err = Open(Options{Mode: ModeCtnetlink, Namespace: t.TempDir() + "/none"})
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestAuto takes the best, and says why not where it is not the very best.
func TestAuto(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.VerifyNoLeaks(t)
	r, choice, err := Open(Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	if refused := choice.Refused[ModePull]; refused != nil {
		require.Equal(t, ModeCtnetlink, choice.Mode)
		require.ErrorIs(t, refused, hostfs.ErrNotSupported)
		testkit.Lack(t, testkit.Feature{Name: "bpf_skb_ct_lookup", MinKernel: "6.1"}, refused)
	}
	require.Equal(t, ModePull, choice.Mode)
	require.Empty(t, choice.Refused)
}

// TestVerifierCost bounds what loading takes, which is seconds on a slow machine
// for 72,000 instructions.
func TestVerifierCost(t *testing.T) {
	testkit.NeedRoot(t)
	var objects conntrackObjects
	if err := loadPull(&objects); err != nil {
		lack(t, ModePull, err)
	}
	defer objects.Close()
	info, err := objects.Lookup.Info()
	require.NoError(t, err)
	n, ok := info.VerifiedInstructions()
	require.True(t, ok)
	t.Logf("%d instructions verified", n)
	require.NotZero(t, n)
	require.LessOrEqual(t, n, uint32(5000))
}

// TestClosed: a call after Close is an error, and so is one that nobody waits for.
func TestClosed(t *testing.T) {
	testkit.NeedRoot(t)
	both(t, func(t *testing.T, mode Mode) {
		testkit.VerifyNoLeaks(t)
		r, _, err := Open(Options{Mode: mode})
		if err != nil {
			lack(t, mode, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		answers := []Answer{{Found: true}}
		_ = r.Resolve(ctx, Namespace{}, []Query{cacheQuery(1)}, answers)
		require.Equal(t, Answer{}, answers[0])
		require.NoError(t, r.Close())
		answers[0].Found = true
		require.Error(t, r.Resolve(context.Background(), Namespace{}, []Query{cacheQuery(1)}, answers))
		require.Equal(t, Answer{}, answers[0])
	})
}

// TestRefused: without capabilities every mode but off is refused, with a remedy.
func TestRefused(t *testing.T) {
	testkit.NeedRoot(t)
	var err error
	ownthread.Do(func() { err = refusedHere(t) })
	require.NoError(t, err)
}

// refusedHere gives up the thread's capabilities, and ends with it.
func refusedHere(t *testing.T) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capset(&header, &make([]unix.CapUserData, 2)[0]); err != nil {
		return err
	}
	var objects conntrackObjects
	err := loadPull(&objects)
	if err == nil {
		_ = objects.Close()
	}
	assertRefusal(t, err, "CAP_BPF")
	p, err := openPlaces("")
	if err != nil {
		return err
	}
	_, err = openCtnetlink(p, Options{}.ctnetlink())
	assertRefusal(t, err, "CAP_NET_ADMIN")
	return p.home.Close()
}

func assertRefusal(t *testing.T, err error, remedy string) {
	t.Helper()
	if err == nil {
		t.Errorf("not refused, without capabilities (%s)", remedy)
		return
	}
	if !errors.Is(err, hostfs.ErrNotSupported) {
		t.Errorf("%v is not hostfs.ErrNotSupported", err)
	}
	if got := err.Error(); !strings.Contains(got, remedy) {
		t.Errorf("%q does not name %s", got, remedy)
	}
}
