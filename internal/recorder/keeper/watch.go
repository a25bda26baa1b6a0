package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/entity"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

const (
	// tickEvery is the time between two ticks of the live view.
	tickEvery = time.Second
	// lookTicks is how many ticks there are between two looks at the stores: one
	// reads folders, which takes about a millisecond.
	lookTicks = 5
	// remember is how many looks are kept: drops of the last minute are worth a
	// warning, older ones are in the counters.
	remember = 12
)

// look is how the stores were at one second.
type look struct {
	at       time.Time
	metrics  metricstore.Stats
	events   eventstore.Stats
	entities entity.Stats
	captures shelved
	queue    uint64 // dropped before the recorder
	free     uint64
	total    uint64
	used     uint64
}

// shelved are the files of captures.
type shelved struct{ count, bytes uint64 }

// watch keeps the last looks.
type watch struct {
	mu    sync.Mutex
	looks []look // the newest last
	said  map[string]bool
}

// run looks after the recorder.
func (k *Keeper) run() {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case now := <-ticker.C:
			k.live.Tick(now)
			err := k.entities.Maintain()
			k.say("table", err, "the table of containers cannot be written")
			if n%lookTicks == 0 {
				k.look(now)
			}
			if n%(lookTicks*remember) == 0 { // so that captures tell what is missing in them
				for _, s := range k.sources {
					s.Note()
				}
			}
		case <-k.ctx.Done():
			return
		}
	}
}

// say logs one line when something begins, and one when it is over.
func (k *Keeper) say(what string, err error, sentence string) {
	w := &k.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.said == nil {
		w.said = map[string]bool{}
	}
	switch {
	case err != nil && !w.said[what]:
		k.o.Log.Error(sentence, "error", err)
	case err == nil && w.said[what]:
		k.o.Log.Info("no longer: " + sentence)
	}
	w.said[what] = err != nil
}

func (k *Keeper) look(now time.Time) {
	l := look{at: now, metrics: k.metrics.Stats(), events: k.events.Stats(), entities: k.entities.Stats()}
	queue, _ := k.queued()
	l.queue = queue.Dropped
	var s unix.Statfs_t
	if unix.Statfs(k.o.Dir, &s) == nil {
		l.free, l.total = s.Bavail*uint64(s.Bsize), s.Blocks*uint64(s.Bsize)
	}
	b := l.metrics.Bytes
	l.captures = readShelf(k.captureDir())
	l.used = uint64(b.Blocks+b.Log+b.Head+b.Corrupt+l.events.Bytes+l.entities.FileBytes) + l.captures.bytes
	w := &k.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.looks) == remember {
		w.looks = append(w.looks[:0], w.looks[1:]...)
	}
	w.looks = append(w.looks, l)
}

// readShelf counts without opening what is there.
func readShelf(dir string) (s shelved) {
	entries, _ := os.ReadDir(dir) // none if it cannot be read, which the shelf itself tells
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.Type().IsRegular() || filepath.Ext(e.Name()) != bundle.Suffix {
			continue
		}
		s.count++
		s.bytes += uint64(info.Size())
	}
	return s
}

// last returns the newest look and the oldest that is kept; before the first second
// both are zero.
func (w *watch) last() (newest, oldest look) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.looks) == 0 {
		return look{}, look{}
	}
	return w.looks[len(w.looks)-1], w.looks[0]
}

// since is what was dropped between two looks, by where and why.
func (l look) since(o look) map[string]uint64 {
	lost := map[string]uint64{}
	add := func(where string, now, then map[string]uint64) {
		for reason, n := range now {
			if n > then[reason] {
				lost[where+": "+reason] = n - then[reason]
			}
		}
	}
	add("metrics", l.metrics.Dropped, o.metrics.Dropped)
	add("events", l.events.Dropped, o.events.Dropped)
	add("containers", l.entities.Dropped, o.entities.Dropped)
	if l.queue > o.queue {
		lost["queue: full"] = l.queue - o.queue
	}
	return lost
}

// rate is a number per second between two looks.
func rate(now, then uint64, d time.Duration) float64 {
	if d <= 0 || now < then {
		return 0
	}
	return float64(now-then) / d.Seconds()
}

// messages are sentences for people, and whether something is broken or only amiss.
func messages(newest, oldest look) (texts []string, broken bool) {
	if newest.metrics.Mode == metricstore.MemoryOnly {
		texts, broken = append(texts, "The disk takes no metrics: the last two minutes are kept in memory."), true
	}
	if newest.events.Disk != nil {
		texts, broken = append(texts, fmt.Sprintf("The disk takes no events (%v): the newest are kept in memory.", newest.events.Disk)), true
	}
	if newest.metrics.OverBudget {
		texts = append(texts, "The newest metrics alone are more than the budget: raise max_size_mib, or record fewer metrics.")
	}
	if newest.metrics.Bytes.Corrupt > 0 {
		texts = append(texts, fmt.Sprintf("Damaged metrics (%d MiB) were moved to the folder raw/corrupt.", newest.metrics.Bytes.Corrupt>>20))
	}
	if n := newest.metrics.Repaired; n > 0 {
		texts = append(texts, fmt.Sprintf("Damaged metrics were met on disk and replaced by what is whole of them (%d times; see Agent).", n))
	}
	if newest.events.Damaged > 0 {
		texts = append(texts, "Some events on disk are damaged and are left out.")
	}
	if lost := newest.since(oldest); len(lost) > 0 {
		texts = append(texts, "Dropped in the last minute: "+counted(lost)+".")
	}
	return texts, broken
}

func counted(by map[string]uint64) string {
	var b strings.Builder
	for i, key := range sortedKeys(by) {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d (%s)", by[key], key)
	}
	return b.String()
}
