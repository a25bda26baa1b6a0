package engine_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func subscribe(t testing.TB, e *engine.Engine) *engine.Subscription {
	t.Helper()
	sub, err := e.Subscribe(t.Context())
	require.NoError(t, err)
	t.Cleanup(sub.Close)
	return sub
}

// All subscribers get all events in order over one stream, which ends with the
// last of them and comes back with the next.
func TestOneStreamForAll(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	var subs []*engine.Subscription
	for range 20 {
		subs = append(subs, subscribe(t, e))
	}
	waitFor(t, func() bool { return f.listeners() == 1 })
	require.Equal(t, 1, f.count("GET /v1.41/events"))
	// Pieces do not follow lines.
	f.emit("{\"n\":1}\n{\"n\"")
	f.emit(":2}\r\n")
	for _, sub := range subs {
		for n := 1; n <= 2; n++ {
			event, err := sub.Next(t.Context())
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf(`{"n":%d}`, n), string(event))
		}
		require.Zero(t, sub.Pending())
	}
	for _, sub := range subs[1:] {
		sub.Close()
	}
	f.emit("{\"n\":3}\n")
	event, err := subs[0].Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, `{"n":3}`, string(event))
	subs[0].Close()
	waitFor(t, func() bool { return f.listeners() == 0 })
	_, err = subs[0].Next(t.Context())
	require.ErrorIs(t, err, engine.ErrClosed)

	late := subscribe(t, e)
	waitFor(t, func() bool { return f.listeners() == 1 })
	require.Equal(t, 2, f.count("GET /v1.41/events"))
	f.emit("{\"n\":4}\n")
	event, err = late.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, `{"n":4}`, string(event))
}

// Who falls behind by more than the ring is cut off; the others are not.
func TestSlowSubscriber(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	slow, quick := subscribe(t, e), subscribe(t, e)
	waitFor(t, func() bool { return f.listeners() == 1 })
	read := func() {
		t.Helper()
		_, err := quick.Next(t.Context())
		require.NoError(t, err)
	}
	for n := range engine.RingEvents {
		f.emit(fmt.Sprintf("{\"n\":%d}\n", n))
		read()
	}
	require.Equal(t, engine.RingEvents, slow.Pending())
	require.Zero(t, e.Stats().Slow)
	f.emit("{\"one\":\"too many\"}\n")
	read()
	_, err := slow.Next(t.Context())
	require.ErrorIs(t, err, engine.ErrSlow)
	require.Equal(t, uint64(1), e.Stats().Slow)

	// The same by bytes, and the stream ends with the last one cut.
	quick.Close()
	bulky := subscribe(t, e)
	waitFor(t, func() bool { return f.listeners() == 1 })
	event := fmt.Sprintf("{\"x\":%q}\n", strings.Repeat("x", engine.MaxEvent-100))
	for range engine.RingBytes/len(event) + 1 {
		f.emit(event)
	}
	waitFor(t, func() bool { return f.listeners() == 0 })
	_, err = bulky.Next(t.Context())
	require.ErrorIs(t, err, engine.ErrSlow)
}

// A stream that ends, by whatever, is an error after what came before, and the
// next subscription finds the engine again.
func TestStreamEnds(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	ends := func(how func(), want error) {
		t.Helper()
		sub := subscribe(t, e)
		waitFor(t, func() bool { return f.listeners() == 1 })
		f.emit("{\"last\":true}\n")
		waitFor(t, func() bool { return sub.Pending() == 1 })
		how()
		event, err := sub.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, `{"last":true}`, string(event))
		_, err = sub.Next(t.Context())
		require.ErrorIs(t, err, want)
		_, again := sub.Next(t.Context())
		require.Equal(t, err, again)
		sub.Close()
		waitFor(t, func() bool { return f.listeners() == 0 })
	}
	ends(func() { f.emit("") }, engine.ErrUnavailable)
	ends(func() { f.emit("{\"half\":"); f.emit("") }, engine.ErrUnavailable)
	ends(func() { f.emit("<html>\n") }, engine.ErrUnexpected)
	ends(func() { f.emit("[1]\n") }, engine.ErrUnexpected)
	ends(func() { f.emit("{\"a\":}\n") }, engine.ErrUnexpected)
	ends(func() { f.stop(); f.start() }, engine.ErrUnavailable)
}

// One container with absurd labels does not end the stream for all: its events
// lose them, and the longest are skipped.
func TestLongEvents(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	sub := subscribe(t, e)
	waitFor(t, func() bool { return f.listeners() == 1 })
	event := func(labels string) string {
		return `{"Action":"start","timeNano":1795295424986328104,"Actor":{"ID":"x","Attributes":{` + labels + `"name":"web"}}}`
	}
	long := strings.Repeat("x", 2000)
	many := strings.Builder{}
	for i := range engine.MaxEvent / 100 {
		fmt.Fprintf(&many, "%q:%q,", fmt.Sprintf("k%d", i), strings.Repeat("v", 100))
	}
	f.emit(event(`"big":"`+strings.Repeat("x", 3<<20)+`",`) + "\n")
	f.emit(event(`"long":"`+long+`",`) + "\n")
	f.emit(event(many.String()) + "\n")
	f.emit(`{"huge":"` + strings.Repeat("x", 17<<20) + `"}` + "\n")
	f.emit("{\"last\":true}\n")
	for _, want := range []string{
		event(""), event(`"long":"` + long + `",`),
		strings.Replace(event(""), `"name":"web"`, "", 1), `{"last":true}`,
	} {
		got, err := sub.Next(t.Context())
		require.NoError(t, err)
		require.JSONEq(t, want, string(got))
		require.Equal(t, strings.Contains(want, "1795295424986328104"), strings.Contains(string(got), "1795295424986328104"), "numbers stay exact")
	}
	require.EqualValues(t, 1, e.Stats().Skipped)
}

// Waiting ends with the context, and subscribers come and go in any order.
func TestSubscribersComeAndGo(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	sub := subscribe(t, e)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := sub.Next(ctx)
	require.ErrorIs(t, err, context.Canceled)
	sub.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				sub, err := e.Subscribe(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				sub.Close()
			}
		})
	}
	wg.Wait()
	waitFor(t, func() bool { return f.listeners() == 0 })
}

// The number of subscribers is bounded.
func TestSubscribersAreBounded(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	for range engine.MaxSubscribers {
		subscribe(t, e)
	}
	_, err := e.Subscribe(t.Context())
	require.ErrorIs(t, err, engine.ErrBusy)
	// They do not take the catalog's place.
	f.on("GET /v1.41/containers/json?all=1", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, "[]") })
	defer e.Catalog().Hold()()
	waitFor(t, e.Catalog().IsLive)
}
