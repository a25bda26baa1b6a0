package eventstore

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// These make the test binary write events into the folder until it is killed:
// as fast as it can with defaults, or in a storm of merges and retention.
const (
	childEnv = "TALLYMAN_TEST_EVENTSTORE_CHILD"
	stormEnv = "TALLYMAN_TEST_EVENTSTORE_STORM"
)

// TestKilled kills a process that writes, and opens what it left.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	taken := ingestUntilKilled(t, dir)
	s, found := open(t, Options{Dir: dir})
	events := scanAll(t, s, Query{})
	// Less than a frame was in memory; the child may have got on meanwhile.
	if len(events) <= taken-frameMaxEvents {
		t.Errorf("%d events of %d and more are left", len(events), taken)
	}
	for i, e := range events {
		if e.Body != strconv.Itoa(i) {
			t.Fatalf("event %d is %q: there is a gap", i, e.Body)
		}
	}
	if !found.Unclean || found.Events != uint64(len(events)) || !strings.Contains(found.Text(), "did not end cleanly") {
		t.Errorf("recovery: %+v: %s", found, found.Text())
	}
	if last := events[len(events)-1].Time; !found.Last.Equal(last) {
		t.Errorf("recovery says events end at %v, they do at %v", found.Last, last)
	}
	t.Logf("taken %d, left %d, %s, opened in %v", taken, len(events), found.Text(), found.Took)
	mustClose(t, s)
	again, found := open(t, Options{Dir: dir})
	if found.Unclean || found.Text() != "" || len(scanAll(t, again, Query{})) != len(events) {
		t.Errorf("second start: %+v", found)
	}
}

// ingestUntilKilled returns how many events the killed process said it took.
func ingestUntilKilled(t *testing.T, dir string) (taken int) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); taken < 20_000 && lines.Scan(); {
		if taken, err = strconv.Atoi(lines.Text()); err != nil {
			t.Error(err)
			break
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = child.Wait() // it was killed
	if taken < 20_000 {
		t.Fatalf("the process ended after %d events", taken)
	}
	return taken
}

// writeForEver prints how many events the store has taken so far.
func writeForEver(dir string) {
	var made clock
	s, _, err := Open(Options{Dir: dir, Now: made.now})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for n := 0; ; n++ {
		made.Store(int64(n))
		s.Append(one(start.Add(time.Duration(n)*time.Millisecond), "test.event", "c1", strconv.Itoa(n)))
		if n%100 == 99 {
			fmt.Println(n + 1)
		}
	}
}

// clock goes on by a millisecond for each event.
type clock struct{ atomic.Int64 }

func (c *clock) now() time.Time { return start.Add(time.Duration(c.Load()) * time.Millisecond) }

// stormKills is how often TestKilledInStorm kills. In 20 runs, two of three left
// half a merge, and one of three both forms of a segment.
const stormKills = 12

// TestKilledInStorm kills a process again and again at random moments of
// writing, merging and retention, each time on what the last one left. No event
// of a frame may be missing or there twice, but for whole segments that the
// budget removed.
func TestKilledInStorm(t *testing.T) {
	dir := t.TempDir()
	framed := 0
	var hits struct{ merges, bothForms, torn, removed int }
	for range stormKills {
		framed = max(framed, killInStorm(t, dir))
		left := checkLeft(t, dir, framed)
		hits.merges += left.halfMerged
		hits.bothForms += left.bothForms
		hits.torn += left.torn
		if left.first > 0 {
			hits.removed++
		}
	}
	t.Logf("%d events framed; of %d kills %d left half a merge, %d both forms of a segment, %d a torn frame, %d came after retention",
		framed, stormKills, hits.merges, hits.bothForms, hits.torn, hits.removed)
	before := checkLeft(t, dir, framed)
	for range 2 { // the first Close merges what the second start reads
		s, found := open(t, stormOptions(dir))
		events := scanAll(t, s, Query{})
		if first := number(t, events[0]); first < before.first || number(t, events[len(events)-1]) != before.last {
			t.Errorf("events %v to %v are left of %+v", first, number(t, events[len(events)-1]), before)
		}
		if found.Events < uint64(len(events)) {
			t.Errorf("recovery says %d events, there are %d", found.Events, len(events))
		}
		mustClose(t, s)
		before = checkLeft(t, dir, framed)
	}
}

// killInStorm returns how many events the process said were in frames.
func killInStorm(t *testing.T, dir string) (framed int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), stormEnv+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	// The moment is a random step of writing, or of merging.
	kind, steps := "framed", 1+rand.IntN(300)
	if rand.IntN(2) == 0 {
		kind, steps = "merging", 1+rand.IntN(60)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		step, n, _ := strings.Cut(lines.Text(), " ")
		if step == "framed" {
			if framed, err = strconv.Atoi(n); err != nil {
				t.Fatal(err)
			}
		}
		if step == kind {
			steps--
		}
		if steps == 0 {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			kind = "dead" // what it said before is still in the pipe
		}
	}
	_ = child.Wait() // it was killed
	if kind != "dead" {
		t.Fatalf("the process ended by itself: %s", lines.Text())
	}
	return framed
}

// left is what a folder has.
type left struct {
	first, last                 int // numbers of events
	segment                     uint64
	bytes                       int64
	halfMerged, bothForms, torn int
}

// checkLeft looks at each segment of a folder as a start would find it.
func checkLeft(t *testing.T, dir string, framed int) left {
	t.Helper()
	all, leftOver, recovery, err := loadAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	found := left{first: -1, last: -1, torn: len(recovery.Damaged)}
	for _, path := range leftOver {
		if strings.HasSuffix(path, mergeSuffix) {
			found.halfMerged++
		} else {
			found.bothForms++
		}
	}
	for _, s := range all {
		found.bytes += s.size
		found.add(t, s, scanAll(t, &Reader{codec: c, segments: []*segment{s}}, Query{}))
	}
	if found.last+1 < framed {
		t.Fatalf("the last event is %d, %d were in frames", found.last, framed)
	}
	if found.first > 0 && found.bytes < minMaxBytes/2 {
		t.Fatalf("retention left %d bytes of %d", found.bytes, minMaxBytes)
	}
	return found
}

// add checks that the events of a segment come next.
func (l *left) add(t *testing.T, s *segment, events []Event) {
	t.Helper()
	for i, e := range events {
		n := number(t, e)
		isNext := n == l.last+1 || l.last < 0
		// Retention can remove a segment behind one that was being read.
		isAfterGap := i == 0 && s.number > l.segment+1 && n > l.last
		if !isNext && !isAfterGap {
			t.Fatalf("segment %d (after %d): event %d comes after %d", s.number, l.segment, n, l.last)
		}
		if l.last = n; l.first < 0 {
			l.first = n
		}
		l.segment = s.number
	}
}

func number(t *testing.T, e Event) int {
	t.Helper()
	text, _, _ := strings.Cut(e.Body, " ")
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func stormOptions(dir string) Options {
	return Options{Dir: dir, MaxBytes: minMaxBytes, FrameEvery: 20 * time.Millisecond}
}

// storm writes events from where the last process was killed, tells each step,
// and reads all the time: removed segments wait for their readers.
func storm(dir string) {
	var made clock
	o := stormOptions(dir)
	o.create, o.Now = tellMerges, made.now
	s, _, err := Open(o)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	n := 0
	if err := s.Scan(context.Background(), Query{Newest: true, Limit: 1}, func(e Event) bool {
		text, _, _ := strings.Cut(e.Body, " ")
		n, err = strconv.Atoi(text)
		n++
		return true
	}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() {
		for s.Scan(context.Background(), Query{Containers: []string{"c1"}}, func(Event) bool { return true }) == nil {
		}
	}()
	for filler := make([]byte, 100); ; n++ {
		made.Store(int64(n))
		for i := range filler { // so that the budget is full soon
			filler[i] = byte('a' + rand.IntN(26))
		}
		s.Append(one(start.Add(time.Duration(n)*time.Millisecond), "test.event", fmt.Sprint("c", n%7), fmt.Sprintf("%d %s", n, filler)))
		if n%100 != 99 {
			continue
		}
		if err := s.Flush(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("framed", n+1)
	}
}

// tellMerges is createFile with a line before and after each step of a merge.
func tellMerges(path string) (file, error) {
	f, err := createFile(path)
	if err != nil || !strings.HasSuffix(path, mergeSuffix) {
		return f, err
	}
	fmt.Println("merging")
	return toldFile{f}, nil
}

type toldFile struct{ file }

func (f toldFile) Write(b []byte) (int, error) { return told(f.file.Write(b)) }

func (f toldFile) Sync() error {
	_, err := told(0, f.file.Sync())
	return err
}

func (f toldFile) Close() error {
	_, err := told(0, f.file.Close())
	return err
}

func told(n int, err error) (int, error) {
	fmt.Println("merging")
	return n, err
}
