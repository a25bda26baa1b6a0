package docker

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

func BenchmarkParseContainer(b *testing.B) {
	body := []byte(strings.Replace(inspectFile, "%ID%", id("a"), 1))
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := parseContainer(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseEvent(b *testing.B) {
	line := []byte(`{"status":"start","id":"` + id("a") + `","from":"img","Type":"container","Action":"start","Actor":{"ID":"` + id("a") +
		`","Attributes":{"image":"img","name":"n","com.docker.compose.project":"shop","com.docker.compose.service":"web"}},` +
		`"scope":"local","time":1700000000,"timeNano":1700000000123456789}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseEvent(line); err != nil {
			b.Fatal(err)
		}
	}
}

// nobody keeps nothing.
type nobody struct{ synced chan struct{} }

func (nobody) Connected(Engine)   {}
func (nobody) Put(*Container)     {}
func (nobody) Gone(string)        {}
func (nobody) Absent(string)      {}
func (nobody) Event(Event)        {}
func (n nobody) Synced()          { n.synced <- struct{}{} }
func (nobody) Disconnected(error) {}

// What a watcher of 2,000 containers holds, and how long it takes to learn them
// from an engine that answers at once.
func BenchmarkConnect2000(b *testing.B) {
	const containers = 2000
	for b.Loop() {
		f := newFake(b)
		for i := range containers {
			c := id(fmt.Sprintf("%x", i))
			f.set(c, strings.Replace(inspectFile, "%ID%", c, 1))
		}
		f.start()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		h := nobody{make(chan struct{}, 1)}
		begun := time.Now()
		w, stop := watch(b, WatcherOptions{Endpoint: f.endpoint()}, h)
		<-h.synced
		took := time.Since(begun)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/containers, "B/container")
		b.ReportMetric(took.Seconds()*1e6/containers, "µs/container")
		if n := w.Stats().Containers; n != containers {
			b.Fatal(n)
		}
		stop()
		f.stop()
	}
}
