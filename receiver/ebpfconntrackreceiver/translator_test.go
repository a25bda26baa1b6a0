package ebpfconntrackreceiver

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/nat"
)

// fakeResolver finds everything, and counts it.
type fakeResolver struct {
	stats  nat.Stats
	closed int
}

func (f *fakeResolver) Resolve(_ context.Context, _ nat.Namespace, queries []nat.Query, answers []nat.Answer) error {
	for i := range queries {
		answers[i] = nat.Answer{Found: true}
	}
	f.stats.Lookups += uint64(len(queries))
	f.stats.Hits += uint64(len(queries))
	return nil
}

func (f *fakeResolver) Stats() nat.Stats { return f.stats }

func (f *fakeResolver) Close() error { f.closed++; return nil }

// fakeHost says which modes work there.
type fakeHost struct {
	refuse map[nat.Mode]error
	tried  []nat.Mode
	opened *fakeResolver
}

func (h *fakeHost) open(mode nat.Mode) (nat.Resolver, nat.Choice, error) {
	h.tried = append(h.tried, mode)
	if err := h.refuse[mode]; err != nil {
		return nil, nat.Choice{}, err
	}
	h.opened = &fakeResolver{}
	return h.opened, nat.Choice{Mode: mode}, nil
}

var (
	errNever = &hostfs.NotSupportedError{Feature: "conntrack", Remedy: "a newer kernel"}
	errNow   = errors.New("not now")
)

func ask(t *testing.T, r nat.Resolver) {
	t.Helper()
	answers := make([]nat.Answer, 1)
	require.NoError(t, r.Resolve(context.Background(), nat.Namespace{}, make([]nat.Query, 1), answers))
	require.True(t, answers[0].Found)
}

// Off becomes ctnetlink where that works, and that becomes pull; each closes what was
// before, once, and no figure falls.
func TestBetterNAT(t *testing.T) {
	first := &fakeResolver{}
	tr := newTranslator(first, nat.Choice{Mode: nat.ModeOff})
	host := &fakeHost{refuse: map[nat.Mode]error{nat.ModePull: errNever}}
	ask(t, tr)

	now := tr.retryAt
	taken, err := tr.seek(now.Add(-time.Nanosecond), host.open)
	require.NoError(t, err)
	require.Empty(t, taken, "too early")
	require.Empty(t, host.tried)

	taken, err = tr.seek(now, host.open)
	require.ErrorIs(t, err, errNever)
	require.Equal(t, nat.ModeCtnetlink, taken)
	require.Equal(t, nat.Choice{Mode: nat.ModeCtnetlink, Refused: map[nat.Mode]error{nat.ModePull: errNever}}, tr.chosen())
	require.Equal(t, 1, first.closed)
	second := host.opened
	ask(t, tr)
	require.EqualValues(t, 2, tr.Stats().Hits)
	require.EqualValues(t, 2, tr.Stats().Lookups)

	clear(host.refuse)
	host.tried = nil
	taken, err = tr.seek(tr.retryAt, host.open)
	require.NoError(t, err)
	require.Equal(t, nat.ModePull, taken)
	require.Equal(t, []nat.Mode{nat.ModePull}, host.tried)
	require.Equal(t, 1, second.closed)
	require.EqualValues(t, 2, tr.Stats().Hits)
	ask(t, tr)
	require.EqualValues(t, 3, tr.Stats().Hits)

	host.tried = nil
	taken, err = tr.seek(now.Add(24*time.Hour), host.open)
	require.NoError(t, err)
	require.Empty(t, taken)
	require.Empty(t, host.tried, "there is nothing better")
	require.NoError(t, tr.Close())
	require.Equal(t, 1, host.opened.closed)
	require.Equal(t, 1, first.closed)
	require.Equal(t, 1, second.closed)
}

// What this host cannot do is tried ever more rarely, what did not work every minute.
func TestNATBackoff(t *testing.T) {
	tr := newTranslator(&fakeResolver{}, nat.Choice{Mode: nat.ModeOff})
	host := &fakeHost{refuse: map[nat.Mode]error{nat.ModePull: errNever, nat.ModeCtnetlink: errNever}}
	wait := func() time.Duration {
		t.Helper()
		now := tr.retryAt
		taken, err := tr.seek(now, host.open)
		require.ErrorIs(t, err, host.refuse[nat.ModeCtnetlink])
		require.Empty(t, taken)
		return tr.retryAt.Sub(now)
	}
	for _, minutes := range []time.Duration{2, 4, 8, 16, 32, 60, 60} {
		require.Equal(t, minutes*time.Minute, wait())
	}
	require.Len(t, host.tried, 14)

	host.refuse[nat.ModeCtnetlink] = errNow
	require.Equal(t, time.Minute, wait(), "one of the two may work soon")
	require.Equal(t, time.Minute, wait())
	host.refuse[nat.ModeCtnetlink] = errNever
	require.Equal(t, 2*time.Minute, wait())
}

// A connection tracking table that appears is a reason to try soon, but not more
// often than every minute.
func TestNATTableAppears(t *testing.T) {
	tr := newTranslator(&fakeResolver{}, nat.Choice{Mode: nat.ModeOff})
	host := &fakeHost{refuse: map[nat.Mode]error{nat.ModePull: errNever, nat.ModeCtnetlink: errNever}}
	for range 6 {
		_, err := tr.seek(tr.retryAt, host.open)
		require.ErrorIs(t, err, errNever)
	}
	late := tr.retryAt
	now := late.Add(-time.Hour)
	tr.noteTable(now, true)
	require.Equal(t, late, tr.retryAt, "it has been there")
	tr.noteTable(now, false)
	require.Equal(t, late, tr.retryAt)
	tr.noteTable(now, true)
	require.Equal(t, now.Add(time.Minute), tr.retryAt)
	tr.noteTable(now.Add(10*time.Second), false)
	tr.noteTable(now.Add(20*time.Second), true)
	require.Equal(t, now.Add(time.Minute), tr.retryAt, "not later")
	_, err := tr.seek(tr.retryAt, host.open)
	require.ErrorIs(t, err, errNever)
	require.Equal(t, now.Add(3*time.Minute), tr.retryAt)
}

// A server whose resolver finds nothing takes what works here when its time has come,
// and only if it may choose.
func TestNATIsTriedAgain(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.VerifyNoLeaks(t)
	cfg := createDefaultConfig().(*Config)
	s := newServer(cfg, zap.NewNop())
	t.Cleanup(func() {
		require.NoError(t, s.close())
		s.release()
	})
	require.NoError(t, s.openView())
	require.NoError(t, s.openNAT())
	best := s.nat.chosen().Mode
	require.NotEqual(t, nat.ModeOff, best, "%v", s.nat.chosen().Refused)
	off, choice, err := nat.Open(nat.Options{Mode: nat.ModeOff})
	require.NoError(t, err)
	require.NoError(t, s.nat.replace(off, choice))

	home := s.tracker.Refresh()[0]
	s.retryNAT(home)
	require.Equal(t, nat.ModeOff, s.nat.chosen().Mode, "too early")
	s.nat.retryAt = time.Time{}
	cfg.NAT = string(nat.ModeOff)
	s.retryNAT(home)
	require.Equal(t, nat.ModeOff, s.nat.chosen().Mode, "it is wished for")
	cfg.NAT = string(nat.ModeAuto)
	s.retryNAT(home)
	require.Equal(t, best, s.nat.chosen().Mode)
}
