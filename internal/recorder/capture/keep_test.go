package capture_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// kept is a capture on a shelf.
type kept struct {
	id    string
	age   time.Duration
	first bool
}

// put makes one of a little more than 10,000 bytes.
func put(t *testing.T, dir string, k kept) {
	t.Helper()
	w, err := bundle.Create(filepath.Join(dir, k.id+".tmcap"), time.Unix(0, 0))
	require.NoError(t, err)
	require.NoError(t, w.Add("events/1.tev", make([]byte, 10_000))) // stored
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(-k.age)
	_, err = w.Finish(&bundle.Manifest{
		ID: k.id, Created: at, Window: bundle.Window{From: at, To: at}, Triggers: []bundle.Trigger{{Kind: "oom", At: at}}, First: k.first,
	})
	require.NoError(t, err)
}

func ids(t *testing.T, s *capture.Shelf) []string {
	t.Helper()
	items, err := s.List()
	require.NoError(t, err)
	var out []string
	for _, item := range items {
		out = append(out, item.ID)
	}
	return out
}

func TestKeepsTheNewest(t *testing.T) {
	dir := t.TempDir()
	for i := range 25 {
		put(t, dir, kept{fmt.Sprintf("c%02d", i), time.Duration(i) * time.Minute, false})
	}
	s := capture.NewShelf(dir, capture.Keep{})
	removed, err := s.Tidy("")
	require.NoError(t, err)
	require.Equal(t, []string{"c24", "c23", "c22", "c21", "c20"}, removed, "20 stay by default")
	removed, err = s.Tidy("")
	require.NoError(t, err)
	require.Empty(t, removed)
}

func TestWhoGoesFirst(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, kept{"newest", 0, false})
	put(t, dir, kept{"young", time.Minute, false})
	put(t, dir, kept{"first-young", 2 * time.Minute, true})
	put(t, dir, kept{"old", time.Hour, false})
	put(t, dir, kept{"first-old", 2 * time.Hour, true})
	put(t, dir, kept{"pinned", 3 * time.Hour, false})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "broken.tmcap"), make([]byte, 1000), 0o600))
	s := capture.NewShelf(dir, capture.Keep{})
	require.NoError(t, s.Pin("pinned", true))

	order := []string{"broken", "old", "young", "first-old", "first-young"}
	for n := range order {
		shelf := capture.NewShelf(dir, capture.Keep{Newest: 7 - n - 1})
		removed, err := shelf.Tidy("")
		require.NoError(t, err)
		require.Equal(t, order[n:n+1], removed)
	}
	removed, err := capture.NewShelf(dir, capture.Keep{Newest: 1, Bytes: 1}).Tidy("")
	require.NoError(t, err)
	require.Empty(t, removed, "the newest and the pinned one stay whatever happens")
	require.Equal(t, []string{"newest", "pinned"}, ids(t, s))
}

func TestBudget(t *testing.T) {
	dir := t.TempDir()
	for i := range 5 {
		put(t, dir, kept{fmt.Sprintf("c%d", i), time.Duration(i) * time.Minute, false})
	}
	// Three of 10,000 bytes and a manifest of some hundred fit.
	s := capture.NewShelf(dir, capture.Keep{Bytes: 35_000})
	removed, err := s.Tidy("")
	require.NoError(t, err)
	require.Equal(t, []string{"c4", "c3"}, removed)
	require.Equal(t, []string{"c0", "c1", "c2"}, ids(t, s))
}

// The one that was just made stays, whatever its time says; those that seem to be newer
// go before all others of their rank.
func TestWhoGoesFirstWhenTheClockWentBack(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, kept{"made", 0, false})
	put(t, dir, kept{"old", time.Hour, false})
	put(t, dir, kept{"first-old", 2 * time.Hour, true})
	put(t, dir, kept{"later", -time.Hour, false})
	put(t, dir, kept{"latest", -2 * time.Hour, false})
	put(t, dir, kept{"first-later", -3 * time.Hour, true})
	put(t, dir, kept{"pinned", -4 * time.Hour, false})
	require.NoError(t, capture.NewShelf(dir, capture.Keep{}).Pin("pinned", true))
	removed, err := capture.NewShelf(dir, capture.Keep{Newest: 1}).Tidy("made")
	require.NoError(t, err)
	require.Equal(t, []string{"later", "latest", "old", "first-later", "first-old"}, removed)
	put(t, dir, kept{"next", 0, false})
	removed, err = capture.NewShelf(dir, capture.Keep{Newest: 1, Bytes: 1}).Tidy("no such")
	require.NoError(t, err)
	require.Equal(t, []string{"next", "made"}, removed, "the newest of those that may go is pinned, and stays anyway")
	require.Equal(t, []string{"pinned"}, ids(t, capture.NewShelf(dir, capture.Keep{})))
}

func TestPinAndDelete(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, kept{"one", 0, false})
	s := capture.NewShelf(dir, capture.Keep{})
	require.NoError(t, s.Pin("one", true))
	require.NoError(t, s.Pin("one", true))
	items, err := s.List()
	require.NoError(t, err)
	require.True(t, items[0].Pinned)
	require.NoError(t, s.Pin("one", false))
	require.NoError(t, s.Pin("one", false))
	items, err = s.List()
	require.NoError(t, err)
	require.False(t, items[0].Pinned)

	for _, id := range []string{"two", "../one", "", ".", "one/../one"} {
		_, err := s.Path(id)
		require.ErrorIs(t, err, capture.ErrNoCapture, "%q", id)
		require.ErrorIs(t, s.Delete(id), capture.ErrNoCapture)
		require.ErrorIs(t, s.Pin(id, true), capture.ErrNoCapture)
	}
	require.NoError(t, s.Pin("one", true))
	require.NoError(t, s.Delete("one"))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// Pinned captures stay within the share of captures, and leave room for a new one.
func TestPinsAreBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range 5 {
		put(t, dir, kept{fmt.Sprintf("c%d", i), time.Duration(i) * time.Minute, false})
	}
	few := capture.NewShelf(dir, capture.Keep{Newest: 3})
	require.NoError(t, few.Pin("c0", true))
	require.NoError(t, few.Pin("c1", true))
	require.NoError(t, few.Pin("c1", true), "it is already")
	err := few.Pin("c2", true)
	require.ErrorIs(t, err, capture.ErrPins)
	require.ErrorContains(t, err, "2 are pinned, and 3 may be there in all")
	require.NoError(t, few.Pin("c0", false))
	require.NoError(t, few.Pin("c2", true), "there is room again")

	// Each has a little more than 10,000 bytes.
	small := capture.NewShelf(dir, capture.Keep{Bytes: 35_000})
	require.NoError(t, small.Pin("c3", true))
	require.ErrorIs(t, small.Pin("c4", true), capture.ErrPins)
	require.NoError(t, small.Delete("c1"))
	require.NoError(t, small.Pin("c4", true))
	require.ErrorIs(t, capture.NewShelf(dir, capture.Keep{Newest: 1}).Pin("c0", true), capture.ErrPins)
}

// The engine keeps within its bounds by itself.
func TestEngineTidies(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.options.Keep = capture.Keep{Newest: 2}
		r.start()
		for range 4 {
			_, err := r.engine.Manual(t.Context(), capture.Request{})
			require.NoError(t, err)
			r.pass(time.Minute)
		}
		require.Len(t, ids(t, r.engine.Shelf()), 2)
		require.Equal(t, []string{r.done[1].ID}, r.done[2].Removed)
		require.Equal(t, []string{r.done[2].ID}, r.done[3].Removed)
		require.Contains(t, ids(t, r.engine.Shelf()), r.done[0].ID, "the first of its kind")
	})
}

// The clock of the host goes back: what was made before has a later time than what is
// made now, and goes before it.
func TestClockGoesBackOnAFullShelf(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.options.Keep = capture.Keep{Newest: 3}
		r.start()
		make := func() {
			_, err := r.engine.Manual(t.Context(), capture.Request{})
			require.NoError(t, err)
			r.pass(time.Minute)
			made := r.done[len(r.done)-1]
			require.FileExists(t, made.Path)
			require.NotContains(t, made.Removed, made.ID)
			require.LessOrEqual(t, len(ids(t, r.engine.Shelf())), 3)
		}
		for range 4 {
			make()
		}
		r.ahead.Store(-int64(5 * time.Hour))
		before := len(r.done)
		make()
		make()
		shelf := ids(t, r.engine.Shelf())
		for _, made := range r.done[before:] {
			require.Contains(t, shelf, made.ID, "made since")
		}
		require.Contains(t, shelf, r.done[0].ID, "the first of its kind")
	})
}
