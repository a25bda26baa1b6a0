package keeper

import (
	"maps"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// topMetrics is how many names the agent's page lists: one screen.
const topMetrics = 20

// agent tells of the recorder and its process.
type agent struct{ k *Keeper }

// Status implements [api.Agent].
func (a agent) Status() api.Status {
	newest, oldest := a.k.watch.last()
	texts, broken := messages(newest, oldest)
	st := api.Status{Host: a.k.o.Host, Version: a.k.o.Version, Oldest: api.At(newest.metrics.Oldest), Health: api.HealthOK, Messages: texts}
	switch {
	case broken:
		st.Health = api.HealthBad
	case len(texts) > 0:
		st.Health = api.HealthWarn
	}
	return st
}

// Agent implements [api.Agent].
func (a agent) Agent() api.AgentStats {
	newest, oldest := a.k.watch.last()
	k, m, e := a.k, newest.metrics, newest.events
	between := newest.at.Sub(oldest.at)
	mode := m.Mode
	if mode == "" {
		mode = metricstore.Normal
	}
	queue, dropped := k.queued()
	st := api.AgentStats{
		Version: k.o.Version, Started: api.At(k.started), PID: os.Getpid(), CPUSeconds: cpuSeconds(), RSS: residentBytes(),
		Heap: heapBytes(), Goroutines: runtime.NumGoroutine(), Mode: string(mode),
		Metrics: api.MetricStats{
			Series: uint64(m.Series), Samples: m.Samples, SamplesPerSecond: rate(m.Samples, oldest.metrics.Samples, between),
			Oldest: api.At(m.Oldest), Newest: api.At(m.Newest), Retention: m.Retention.Seconds(), Dropped: m.Dropped,
			Bytes: api.Counts{
				"blocks": uint64(m.Bytes.Blocks), "log": uint64(m.Bytes.Log), "head": uint64(m.Bytes.Head),
				"corrupt": uint64(m.Bytes.Corrupt),
			},
		},
		Events: api.EventStats{
			Count: e.Stored, PerSecond: rate(e.Taken, oldest.events.Taken, between), Oldest: api.At(e.Oldest),
			Bytes: api.Counts{"segments": uint64(e.Bytes)}, Dropped: e.Dropped,
		},
		Entities: api.EntityStats{
			Running: newest.entities.Running, Ended: newest.entities.Ended, Broken: newest.entities.Broken,
			Bytes: uint64(newest.entities.FileBytes), Dropped: newest.entities.Dropped,
		},
		Captures: a.captures(newest.captures),
		Queue:    api.QueueStats{Length: queue.Waiting, Capacity: queue.Limit, Dropped: dropped},
		Recovery: a.recovery(),
	}
	st.Disk = api.DiskStats{
		Budget: uint64(k.o.MaxBytes), Used: newest.used, Free: newest.free, Total: newest.total,
	}
	for _, top := range k.metrics.TopMetrics(topMetrics) {
		st.TopMetrics = append(st.TopMetrics, api.MetricsSeries{Name: top.Name, Series: uint64(top.Series)})
	}
	return st
}

func (a agent) captures(shelf shelved) api.CaptureStats {
	st := a.k.engine.Stats()
	sum := api.CaptureStats{Count: int(shelf.count), Bytes: shelf.bytes, Pending: st.Open, Dropped: api.Counts{}}
	for reason, n := range map[string]uint64{"failed": st.Failed, "busy": st.Full, "quiet": st.Quiet} {
		if n > 0 {
			sum.Dropped[reason] = n
		}
	}
	return sum
}

func (a agent) recovery() api.RecoveryStats {
	r := a.k.recovery
	var lost []string
	for _, text := range []string{r.Metrics.Text(), r.Events.Text()} {
		if text != "" {
			lost = append(lost, text)
		}
	}
	st := api.RecoveryStats{Took: r.Metrics.Took.Seconds(), Lost: strings.Join(lost, "; "), Repaired: slices.Clone(r.Metrics.Reasons)}
	st.Repaired = append(st.Repaired, r.Events.Damaged...)
	newest, _ := a.k.watch.last()
	for _, repair := range newest.metrics.Repairs {
		st.Repaired = append(st.Repaired, repair.Text())
	}
	return st
}

// cpuSeconds is what the process has used, in user and kernel mode.
func cpuSeconds() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return (time.Duration(u.Utime.Nano()) + time.Duration(u.Stime.Nano())).Seconds()
}

// residentBytes is the second number of /proc/self/statm, in pages.
func residentBytes() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}

func heapBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

func sortedKeys(by map[string]uint64) []string { return slices.Sorted(maps.Keys(by)) }
