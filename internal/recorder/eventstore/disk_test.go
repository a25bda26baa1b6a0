package eventstore

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
)

func marshal(logs plog.Logs) ([]byte, error) { return (&plog.ProtoMarshaler{}).MarshalLogs(logs) }

// disk has room for some more bytes, and then answers as a full one does:
// a part is written, and an error.
type disk struct {
	mu   sync.Mutex // a merge writes while the test does
	room int64
	// stuck also refuses to take back what was written.
	stuck bool
}

func (d *disk) set(room int64, stuck bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room, d.stuck = room, stuck
}

func (d *disk) create(path string) (file, error) {
	f, err := createFile(path)
	if err != nil {
		return nil, err
	}
	return &diskFile{file: f, disk: d}, nil
}

type diskFile struct {
	file
	disk *disk
}

func (f *diskFile) Write(b []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	fits := min(int64(len(b)), f.disk.room)
	f.disk.room -= fits
	n, err := f.file.Write(b[:fits])
	if err == nil && n < len(b) {
		err = syscall.ENOSPC
	}
	return n, err
}

func (f *diskFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.stuck {
		return syscall.EIO
	}
	return f.file.Truncate(size)
}

func TestDiskFull(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		d := &disk{room: 1000, stuck: stuck}
		o := quiet(t.TempDir())
		o.create = d.create
		s, _ := open(t, o)
		var want []string
		flush := func(n int) error {
			for range n {
				body := strconv.Itoa(len(want))
				want = append(want, body)
				s.Append(one(start.Add(time.Duration(len(want))*time.Second), "test.event", "c1", body+strings.Repeat(" ", 40)))
			}
			return s.Flush()
		}
		var err error
		for range 10 {
			err = errors.Join(err, flush(3))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("the disk is not full: %v", err)
		}
		if stats := s.Stats(); stats.InMemory == 0 || !errors.Is(stats.Disk, syscall.ENOSPC) || stats.Stored != 30 {
			t.Errorf("stuck %t: while full: %+v", stuck, stats)
		}
		checkBodies(t, s, want)
		d.set(1<<20, false)
		if err := flush(3); err != nil {
			t.Errorf("with room again: %v", err)
		}
		if stats := s.Stats(); stats.InMemory != 0 || stats.Disk != nil || len(stats.Dropped) != 0 {
			t.Errorf("stuck %t: with room again: %+v", stuck, stats)
		}
		checkBodies(t, s, want)
		mustClose(t, s)
		again, found := open(t, quiet(o.Dir))
		if found.Text() != "" {
			t.Errorf("stuck %t: reopened: %s", stuck, found.Text())
		}
		checkBodies(t, again, want)
		mustClose(t, again)
	}
}

func checkBodies(t *testing.T, s *Store, want []string) {
	t.Helper()
	got := bodies(scanAll(t, s, Query{}))
	for i := range got {
		got[i] = strings.TrimSpace(got[i])
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestDiskStaysFull fills the memory for frames too: the newest are kept, the
// others counted, and Close says so.
func TestDiskStaysFull(t *testing.T) {
	d := &disk{}
	m := newMix()
	o := quiet(t.TempDir())
	o.create, o.Now = d.create, m.now
	s, _ := open(t, o)
	batches := 0
	for ; s.Stats().Dropped[DroppedDisk] == 0; batches++ {
		s.Append(m.batch(frameMaxEvents))
	}
	stats := s.Stats()
	if stats.Stored+stats.Dropped[DroppedDisk] != uint64(batches*frameMaxEvents) {
		t.Errorf("%d batches: %+v", batches, stats)
	}
	newest := start.Add(time.Duration(batches*frameMaxEvents-1) * mixEvery)
	if got := scanAll(t, s, Query{Newest: true, Limit: 1}); len(got) != 1 || got[0].Time.Before(newest) {
		t.Errorf("the newest event is missing: %+v", got)
	}
	err := s.Close()
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), strconv.FormatUint(stats.Stored, 10)+" events") {
		t.Errorf("Close says: %v", err)
	}
	if s.Stats().Dropped[DroppedDisk] != uint64(batches*frameMaxEvents) {
		t.Errorf("after Close: %+v", s.Stats())
	}
}

// TestFullDiskTakesTheOldest: new events matter more than old ones.
func TestFullDiskTakesTheOldest(t *testing.T) {
	d := &disk{room: 1 << 20}
	o := quiet(t.TempDir())
	o.create = d.create
	s, _ := open(t, o)
	for _, body := range []string{"a", "b"} {
		s.Append(one(start, "test.event", "c1", body))
		mustFlush(t, s)
		s.mu.Lock()
		s.rotate()
		s.mu.Unlock()
	}
	s.mergeAll()
	d.set(0, false)
	s.Append(one(start, "test.event", "c1", "c"))
	if err := s.Flush(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	got := bodies(scanAll(t, s, Query{}))
	slices.Sort(got)
	if !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("%v are left", got)
	}
	d.set(1<<20, false)
}

func TestBudget(t *testing.T) {
	m := newMix()
	o := quiet(t.TempDir())
	o.MaxBytes, o.Now = minMaxBytes, m.now
	s, _ := open(t, o)
	fill := func() {
		for range 200 {
			s.Append(m.batch(500))
		}
		s.mergeAll()
	}
	fill()
	size := func() (bytes int64) {
		for _, name := range names(t, o.Dir) {
			info, err := os.Stat(filepath.Join(o.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			bytes += info.Size()
		}
		return bytes
	}
	stats := s.Stats()
	if size() > o.MaxBytes || stats.Bytes != size() || stats.Segments < 3 {
		t.Errorf("%d bytes on disk of %d: %+v", size(), o.MaxBytes, stats)
	}
	if got := scanAll(t, s, Query{Limit: 1}); got[0].Time.Before(start.Add(time.Hour/60)) || !got[0].Time.Equal(stats.Oldest) {
		t.Errorf("the oldest events are still there: %v, %v", got[0].Time, stats.Oldest)
	}
	window := Query{From: stats.Oldest, To: stats.Oldest.Add(20 * time.Second)}
	pinned := len(scanAll(t, s, window))
	release := s.Pin(window.From, window.To)
	fill()
	if got := len(scanAll(t, s, window)); got != pinned || pinned == 0 || size() > 2*o.MaxBytes {
		t.Errorf("%d of %d pinned events are left, %d bytes on disk", got, pinned, size())
	}
	release()
	release()
	fill()
	if got := len(scanAll(t, s, window)); got != 0 || size() > o.MaxBytes {
		t.Errorf("%d events are left after the pin, %d bytes on disk", got, size())
	}
}

func TestOptions(t *testing.T) {
	f := func(o Options, want string) {
		t.Helper()
		if _, _, err := Open(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	f(Options{}, "no folder")
	f(Options{Dir: t.TempDir(), MaxBytes: 1000}, "too small (give it 1048576 or more)")
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	f(Options{Dir: file}, "make event store")
}

// TestClock sets the clock forth by a year and back, and back by an hour.
func TestClock(t *testing.T) {
	now := start
	o := quiet(t.TempDir())
	o.MaxAge = time.Hour
	o.Now = func() time.Time { return now }
	s, _ := open(t, o)
	var want []string
	add := func() {
		want = append(want, strconv.Itoa(len(want)))
		s.Append(one(now, "test.event", "c1", want[len(want)-1]))
		mustFlush(t, s)
	}
	check := func(state string, want ...string) {
		t.Helper()
		s.mergeAll()
		got := bodies(scanAll(t, s, Query{}))
		if !slices.IsSortedFunc(scanAll(t, s, Query{}), func(a, b Event) int { return a.Time.Compare(b.Time) }) {
			t.Errorf("%s: not in the order of time", state)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", state, got, want)
		}
	}
	for range 6 { // one segment each
		add()
		now = now.Add(maxSegmentAge)
	}
	check("before", "0", "1", "2", "3", "4", "5")
	right := now
	now = now.AddDate(1, 0, 0)
	add()
	check("a year later", "2", "3", "4", "5", "6")
	now = right
	add()
	check("back", "2", "3", "4", "5", "6", "7")
	now = right.Add(-time.Hour)
	add()
	check("an hour early", "2", "3", "4", "5", "6", "7", "8")
	newest := bodies(scanAll(t, s, Query{From: right, Newest: true}))
	if !slices.Equal(newest, []string{"6", "7"}) {
		t.Errorf("newest first: %v", newest)
	}
	mustClose(t, s)
	again, found := open(t, o)
	if len(scanAll(t, again, Query{})) != 7 {
		t.Errorf("reopened: %+v", found)
	}
}

// TestAge removes what is older than MaxAge, in steps of two segments.
func TestAge(t *testing.T) {
	now := start
	o := quiet(t.TempDir())
	o.MaxAge = time.Hour
	o.Now = func() time.Time { return now }
	s, _ := open(t, o)
	for i := range 20 {
		s.Append(one(now, "test.event", "c1", strconv.Itoa(i)))
		mustFlush(t, s)
		now = now.Add(maxSegmentAge)
	}
	s.mergeAll()
	events := scanAll(t, s, Query{})
	// An hour and the segment that is written: each lasts ten minutes.
	if n := len(events); n < 6 || n > 9 {
		t.Errorf("%v are left", bodies(events))
	}
}

// TestByTime lets the store's own ticker write.
func TestByTime(t *testing.T) {
	o := quiet(t.TempDir())
	o.FrameEvery = 10 * time.Millisecond
	s, _ := open(t, o)
	s.Append(one(start, "test.event", "c1", "x"))
	eventually(t, func() error {
		if n := s.Stats().InMemory; n > 0 {
			return errors.New("still in memory")
		}
		return nil
	})
	if n := s.Stats().Frames; n != 1 {
		t.Errorf("%d frames", n)
	}
}
