package origin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

var (
	inA = &container.Cgroup{Path: "/a"}
	inB = &container.Cgroup{Path: "/b"}
)

// tale applies events with times and starts in milliseconds since boot.
type tale struct{ *history }

func (h tale) event(kind procstream.EventKind, at, start int, in *container.Cgroup) {
	e := hostview.ProcessEvent{Kind: kind, PID: 7, Start: uint64(start / 10), Container: in}
	h.history.event(&e, time.Duration(at)*time.Millisecond)
}

func (h tale) ask(since, until int) (cgroups []*container.Cgroup, whole bool) {
	list, whole := h.holders(nil, 7, time.Duration(since)*time.Millisecond, time.Duration(until)*time.Millisecond)
	for _, p := range list {
		cgroups = append(cgroups, p.cgroup)
	}
	return cgroups, whole
}

func TestHistory(t *testing.T) {
	h := tale{newHistory(0)}
	h.event(procstream.Forked, 1000, 1000, nil)
	h.event(procstream.Moved, 1001, 1000, inA)
	h.event(procstream.Exited, 2000, 1000, inA)
	h.event(procstream.Forked, 3000, 3000, nil)
	h.event(procstream.Moved, 3001, 3000, inB)
	f := func(since, until int, want ...*container.Cgroup) {
		t.Helper()
		got, whole := h.ask(since, until)
		require.True(t, whole)
		require.Equal(t, want, got)
	}
	f(0, 900)
	f(1500, 1500, inA)
	f(2040, 2100, inA) // its end may have been told late
	f(2060, 2100)
	f(2060, 4000, inB)
	f(1500, 4000, inA, inB)
	require.True(t, h.covers(2900*time.Millisecond))
	require.False(t, h.covers(2960*time.Millisecond))
	require.Equal(t, 2, h.size())

	h.event(procstream.Forked, 3002, 3000, inA) // told twice: where it is now
	f(3500, 3500, inA)
	h.event(procstream.Exited, 3600, 3000, inB)
	h.event(procstream.Forked, 3601, 3000, inA) // told late
	f(3500, 3500, inB)
}

// The end of a process was not told, but another one has its number.
func TestUntoldEnd(t *testing.T) {
	h := tale{newHistory(0)}
	h.event(procstream.Forked, 1000, 1000, inA)
	h.event(procstream.Forked, 5000, 5000, inB)
	got, whole := h.ask(5200, 5300)
	require.True(t, whole)
	require.Equal(t, []*container.Cgroup{inB}, got)
	got, _ = h.ask(4000, 5300)
	require.Equal(t, []*container.Cgroup{inA, inB}, got)
}

func TestHistoryWithGap(t *testing.T) {
	h := tale{newHistory(0)}
	h.event(procstream.Forked, 1000, 1000, inA)
	h.lost(2 * time.Second)
	_, whole := h.ask(1500, 2500)
	require.False(t, whole, "it may have ended in the gap")
	_, whole = h.ask(2000, 2500)
	require.True(t, whole)
	h.event(procstream.Exited, 3000, 1000, inA) // it had not
	got, whole := h.ask(1500, 2500)
	require.True(t, whole)
	require.Equal(t, []*container.Cgroup{inA}, got)
	_, whole = h.ask(900, 2500)
	require.False(t, whole)
}

func TestHistoryIsBounded(t *testing.T) {
	h := newHistory(0)
	for i := range maxEnded + 1000 {
		e := hostview.ProcessEvent{Kind: procstream.Exited, PID: i % 30000, Start: uint64(i)}
		h.event(&e, time.Second)
		h.expire()
	}
	require.Equal(t, maxEnded, h.size())
	h.told += keepEnded + time.Millisecond
	h.expire()
	require.Zero(t, h.size())
	require.Empty(t, h.byPID)
}
