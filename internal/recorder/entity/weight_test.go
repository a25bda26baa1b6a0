package entity

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const otherScope = "some.application"

// forged are attributes of a container with as many and as long tags as one may have.
// Those of the same salt are the same.
func forged(id, salt string) pcommon.Map {
	m := attributes(id)
	for i := range maxTags {
		key := fmt.Sprintf("%03d.%s.", i, salt)
		m.PutStr(key+strings.Repeat("k", maxTagBytes-len(key)), strings.Repeat("v", maxTagBytes))
	}
	return m
}

func tagBytes(e Entity) int {
	n := 0
	for key, value := range e.Tags {
		n += len(key) + len(value)
	}
	return n
}

// What strangers say of a container leaves room for what receivers say, and nobody says
// more than some KiB.
func TestTagBytes(t *testing.T) {
	r := newRig(t, Options{})
	r.measure(otherScope, forged(idA, "a"), sec(1), point{"requests", 1, nil})
	require.LessOrEqual(t, tagBytes(r.lookup(idA)), maxRunBytes/2)
	require.NotEmpty(t, r.lookup(idA).Tags)
	r.measure(cgroupScope, attributes(idA, "container.name", "web"), sec(2), uptime(1))
	require.Equal(t, "web", r.lookup(idA).Name)
	before := r.Stats().Dropped["tags"]
	require.EqualValues(t, maxTags-4, before, "four of 2 KiB have room")
	r.measure(cgroupScope, forged(idA, "b"), sec(3), uptime(2))
	require.LessOrEqual(t, tagBytes(r.lookup(idA)), maxRunBytes)
	require.Greater(t, r.Stats().Dropped["tags"], before)
	require.Equal(t, "web", r.lookup(idA).Name)

	// A value that has become too long is not taken, a shorter one is.
	r.measure(cgroupScope, forged(idB, "b"), sec(3), uptime(2))
	full := tagBytes(r.lookup(idB))
	require.Greater(t, full, maxRunBytes-2*maxTagBytes-1)
	r.measure(cgroupScope, attributes(idB, "000.b."+strings.Repeat("k", maxTagBytes-6), "short"), sec(4), uptime(3))
	require.Equal(t, full-maxTagBytes+len("short"), tagBytes(r.lookup(idB)))
}

// Whoever can send data of containers that there are not takes a bounded part of the
// memory and of the disk, and those that are heard of stay.
func TestTableBytes(t *testing.T) {
	const limit = 1 << 20
	f := func(salt func(n int) string) {
		t.Helper()
		dir := t.TempDir()
		r := newRig(t, Options{Dir: dir, MaxBytes: limit})
		real := func(at time.Time) {
			r.measure(cgroupScope, attributes(idA, "container.name", "web"), at, uptime(1+at.Sub(sec(0)).Seconds()))
		}
		real(sec(0))
		for n := range 300 {
			at := sec(float64(n))
			real(at)
			r.measure(otherScope, forged(fmt.Sprint("forged", n), salt(n)), at, point{"requests", 1, nil})
			require.NoError(t, r.Maintain())
		}
		s := r.Stats()
		require.Equal(t, "web", r.lookup(idA).Name)
		require.Greater(t, s.Entities, 50)
		require.Greater(t, s.Dropped["memory"], uint64(100))
		require.Equal(t, s.Evicted, s.Dropped["memory"])
		var text bytes.Buffer
		require.NoError(t, r.Write(&text, nil))
		require.Less(t, text.Len(), limit+limit/4, "with the members of JSON")
		require.Less(t, s.FileBytes, int64(3*limit+limit+slack))
		sum := 0
		for _, e := range r.List(Filter{}) {
			sum += tagBytes(e)
		}
		require.LessOrEqual(t, sum, limit)

		// A lower limit holds for what is read, too.
		small, rec, err := Load(&text, Options{MaxBytes: limit / 4})
		require.NoError(t, err)
		require.Equal(t, s.Entities, rec.Entities+rec.Evicted)
		require.Greater(t, rec.Entities, 10)
		sum = 0
		for _, e := range small.List(Filter{}) {
			sum += tagBytes(e)
		}
		require.LessOrEqual(t, sum, limit/4)
	}
	f(func(n int) string { return fmt.Sprint(n) }) // each has its own
	f(func(int) string { return "same" })
}

// TestMemoryOfSmallTags: what is counted is what is held, also where all tags are short
// and nobody shares them.
func TestMemoryOfSmallTags(t *testing.T) {
	const limit = 16 << 20
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	table := newTable(Options{MaxBytes: limit})
	m := pcommon.NewMap()
	for n := range 2000 {
		m.Clear()
		m.PutStr("container.id", fmt.Sprint("forged", n))
		for i := range maxTags {
			m.PutStr(fmt.Sprintf("%x", n*maxTags+i), "x")
		}
		table.Observe(m, epoch)
	}
	require.Greater(t, table.Stats().Dropped["memory"], uint64(500))
	// Package unique lets go in the background, after a collection. The race detector
	// makes all that is held some percent larger.
	testkit.Eventually(t, 30*time.Second, func() error {
		if used := heap() - before; used > limit+limit/4 {
			return fmt.Errorf("%d containers: %d bytes counted, %d used", table.Stats().Entities, table.weight.held, used)
		}
		return nil
	})
	runtime.KeepAlive(table)
}

// What is counted step by step is what is there, whatever happens.
func TestWeightAddsUp(t *testing.T) {
	r := newRig(t, Options{Max: 20, MaxBytes: 8 << 10, GoneAfter: time.Minute, MaxAge: time.Hour})
	random := rand.New(rand.NewPCG(1, 2))
	events := []string{"container.start", "container.stop", "container.degraded", "container.recovered", "container.oom_kill", "container.rename"}
	for n := range 3000 {
		id, at := fmt.Sprint("c", random.IntN(30)), sec(float64(n))
		switch random.IntN(3) {
		case 0:
			r.kernel(events[random.IntN(len(events))], id, at, "container.name", strings.Repeat("n", random.IntN(90)),
				"process.executable.name", fmt.Sprint("exe", random.IntN(3)), "degraded.reason", "oom")
		case 1:
			r.Observe(attributes(id, fmt.Sprint("key", random.IntN(9)), strings.Repeat("v", random.IntN(90))), at)
		default:
			require.NoError(t, r.Maintain())
		}
	}
	require.Positive(t, r.Stats().Dropped["memory"])
	var want weight
	for _, run := range r.runs {
		want.take(run.tags)
		want.words(run.wordBytes())
	}
	require.Equal(t, want, r.weight)
	require.LessOrEqual(t, max(want.held, want.written), int64(8<<10))
	r.forget(append([]*run(nil), r.runs...))
	require.Equal(t, weight{shared: want.shared}, weight{r.weight.held, r.weight.written, want.shared})
	require.Empty(t, r.weight.shared)
}
