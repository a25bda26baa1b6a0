package engine_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
)

// The sizes are those of the notes: an inspect of 4.9 KB, a list of 200
// containers with 286 KB. The fake engine's own allocations are included.
//
//	go test -run '^$' -bench . ./extension/dockerfilterextension/internal/engine

func benchmarkAsk(b *testing.B, size int, shared bool) {
	f := startFake(b)
	e := f.open(nil)
	body := []byte("{" + strings.Repeat(" ", size-2) + "}")
	f.on("GET /x", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
	ask := e.Do
	if shared {
		ask = e.Shared
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		response, err := ask(b.Context(), get("/x"))
		require.NoError(b, err)
		n, err := io.Copy(io.Discard, response.Body)
		require.NoError(b, err)
		require.Equal(b, int64(size), n)
		require.NoError(b, response.Body.Close())
	}
	b.ReportMetric(float64(f.count("GET /x"))/float64(b.N), "asked/op")
}

// BenchmarkInspect is one request and one answer of an inspect's size.
func BenchmarkInspect(b *testing.B) { benchmarkAsk(b, 4900, false) }

// BenchmarkInspectShared is the same for one client after another.
func BenchmarkInspectShared(b *testing.B) { benchmarkAsk(b, 4900, true) }

// BenchmarkList is one request and one answer of a list's size.
func BenchmarkList(b *testing.B) { benchmarkAsk(b, 286<<10, false) }

// BenchmarkListShared is the same for one client after another.
func BenchmarkListShared(b *testing.B) { benchmarkAsk(b, 286<<10, true) }

// BenchmarkEvent is one event for 64 subscribers, from the engine to the last.
func BenchmarkEvent(b *testing.B) {
	f := startFake(b)
	e := f.open(nil)
	const subscribers = 64
	var subs []*engine.Subscription
	for range subscribers {
		subs = append(subs, subscribe(b, e))
	}
	waitFor(b, func() bool { return f.listeners() == 1 })
	event := fmt.Sprintf("{\"Type\":\"container\",\"x\":%q}\n", strings.Repeat("x", 480))
	b.ReportAllocs()
	for b.Loop() {
		f.emit(event)
		for _, sub := range subs {
			_, err := sub.Next(b.Context())
			require.NoError(b, err)
		}
	}
}

// BenchmarkResolve looks up a prefix among 200 containers of a held catalog,
// the slowest hit there is.
func BenchmarkResolve(b *testing.B) {
	h, e := startHerd(b)
	for n := range 200 {
		h.put(hexID(fmt.Sprintf("%08x", n+1)), fmt.Sprintf("c%d", n), "running", "")
	}
	defer e.Catalog().Hold()()
	waitFor(b, e.Catalog().IsLive)
	ref := hexID(fmt.Sprintf("%08x", 150))
	for _, kind := range []struct{ name, ref string }{{"id", ref}, {"name", "c149"}, {"prefix", ref[:12]}} {
		b.Run(kind.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := e.Catalog().Resolve(b.Context(), kind.ref, nil)
				require.NoError(b, err)
			}
		})
	}
}

// BenchmarkParseContainers reads a list of 200 containers.
func BenchmarkParseContainers(b *testing.B) {
	var list strings.Builder
	for n := range 200 {
		fmt.Fprintf(&list, `%c{"Id":"%064x","Names":["/c%d"],"Image":"img:1","State":"running","Labels":{"a":"b","c":"d"},"Mounts":%q}`,
			"[,"[min(n, 1)], n, n, strings.Repeat("x", 1200))
	}
	list.WriteString("]")
	b.SetBytes(int64(list.Len()))
	b.ReportAllocs()
	for b.Loop() {
		_, err := engine.ParseContainers(strings.NewReader(list.String()))
		require.NoError(b, err)
	}
}

// A container that the catalog has costs one allocation, however it is named.
func TestResolveAllocates(t *testing.T) {
	h, e := startHerd(t)
	h.put(hexID("a1"), "web", "running", "")
	h.put(hexID("a2"), "db", "running", "")
	defer e.Catalog().Hold()()
	waitFor(t, e.Catalog().IsLive)
	for _, ref := range []string{hexID("a1"), "web", "a1"} {
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
			if _, err := e.Catalog().Resolve(t.Context(), ref, nil); err != nil {
				t.Error(err)
			}
		}), 1.0)
	}
}
