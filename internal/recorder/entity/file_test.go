package entity

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

func reopen(t *testing.T, dir string) (*Table, Recovery) {
	t.Helper()
	table, rec, err := Open(Options{Dir: dir, Now: func() time.Time { return epoch.Add(24 * time.Hour) }})
	require.NoError(t, err)
	return table, rec
}

// fill tells of a container that has ended and one that has not.
func fill(r rig) {
	r.measure(cgroupScope, attributes(idA, "container.name", "worker", "host.name", "h"), sec(1), uptime(1))
	r.kernel("container.oom_kill", idA, sec(5), "process.executable.name", "w", "container.survived", true)
	r.kernel("container.degraded", idA, sec(5), "degraded.reason", "oom", "process.executable.name", "w")
	r.kernel("container.stop", idA, sec(9), "container.lifetime", 9.0, "container.exit_code", 3)
	r.measure(cgroupScope, attributes(idB, "container.name", "web"), sec(9), uptime(3))
}

func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "recorder")
	r := newRig(t, Options{Dir: dir})
	fill(r)
	want := r.List(Filter{})
	require.Len(t, want, 2)
	require.NoError(t, r.Close())

	info, err := os.Stat(filepath.Join(dir, fileName))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	info, err = os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())

	table, rec := reopen(t, dir)
	require.Equal(t, Recovery{Entities: 2, Took: rec.Took}, rec)
	require.Empty(t, cmp.Diff(want, table.List(Filter{})))
	table.Observe(attributes("new"), sec(10))
	e, _ := table.Lookup("new")
	require.Equal(t, uint64(3), e.Seq)
	require.NoError(t, table.Close())
	require.NoError(t, table.Close())
	require.NoError(t, table.Maintain(), "after the end it does nothing")
}

// TestCrash leaves a table without Close: what Maintain had written is there.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, Options{Dir: dir})
	fill(r)
	require.NoError(t, r.Maintain())
	want := r.List(Filter{})
	r.Observe(attributes("lost"), sec(11))

	table, rec := reopen(t, copyDir(t, dir))
	require.Equal(t, 2, rec.Entities)
	require.False(t, rec.Torn)
	require.Empty(t, cmp.Diff(want, table.List(Filter{})))
	require.NoError(t, table.Close())
}

// copyDir is what another process would find.
func copyDir(t *testing.T, dir string) string {
	to := t.TempDir()
	require.NoError(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

// TestTornAnywhere cuts the file at every byte: what is whole is read, and the
// next time nothing is wrong any more.
func TestTornAnywhere(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, Options{Dir: dir})
	fill(r)
	require.NoError(t, r.Maintain())
	text, err := os.ReadFile(filepath.Join(dir, fileName))
	require.NoError(t, err)
	for n := range len(text) {
		if n%7 != 0 && text[n] != '\n' && n < len(text)-3 {
			continue // each end of a line, and every seventh byte
		}
		whole := bytes.Count(text[:n], []byte(`{"entity":`))
		if torn := text[bytes.LastIndexByte(text[:n], '\n')+1 : n]; bytes.HasPrefix(torn, []byte(`{"entity":`)) {
			whole--
		}
		table, rec, err := Load(bytes.NewReader(text[:n]), Options{})
		require.NoError(t, err)
		require.Equal(t, n > 0 && text[n-1] != '\n', rec.Torn, n)
		require.Equal(t, whole, rec.Entities, n)
		var again bytes.Buffer
		require.NoError(t, table.Write(&again, nil))
		_, rec, err = Load(&again, Options{})
		require.NoError(t, err)
		require.Equal(t, Recovery{Entities: whole}, rec)
	}
}

func TestDamagedLines(t *testing.T) {
	dir := t.TempDir()
	entity := `{"entity":{"seq":%d,"id":"%s","name":"n","first_seen":"2026-11-20T03:12:00Z","last_seen":"2026-11-20T03:12:00Z"}}`
	lines := []string{
		`{"format":1,"seq":40}`,
		fmt.Sprintf(entity, 1, idA),
		`{"entity":{"seq":2,`,
		"\x00\x00\x00\x00",
		``,
		`{"entity":{"seq":0,"id":"x","first_seen":"2026-11-20T03:12:00Z","last_seen":"2026-11-20T03:12:00Z"}}`,
		`{"entity":{"seq":3,"id":"","first_seen":"2026-11-20T03:12:00Z","last_seen":"2026-11-20T03:12:00Z"}}`,
		`{"edge":{"from":"the future"}}`,
		`{"entity":{"seq":4,"id":"` + strings.Repeat("x", maxLine) + `"}}`,
		fmt.Sprintf(entity, 5, idB),
		`{"alive":"2026-11-20T03:13:00Z"}`,
	}
	text := strings.Join(lines, "\n") + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, fileName), []byte(text), 0o600))
	table, rec := reopen(t, dir)
	require.Equal(t, Recovery{Entities: 2, Skipped: 5, Unknown: 1, Took: rec.Took}, rec)
	e, ok := table.Lookup(idA)
	require.True(t, ok)
	require.Equal(t, "n", e.Name)
	require.Equal(t, "n", e.Tags["container.name"])
	require.Equal(t, sec(60), e.LastSeen, "it was alive then")
	table.Observe(attributes("new"), sec(100))
	e, _ = table.Lookup("new")
	require.Equal(t, uint64(41), e.Seq)
	require.NoError(t, table.Close())
	table, rec = reopen(t, dir)
	require.Equal(t, Recovery{Entities: 3, Took: rec.Took}, rec)
	require.NoError(t, table.Close())
}

// TestLongAway: the agent was away for an hour. What it finds running is what it
// was, and the rest is taken for gone after a while.
func TestLongAway(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, Options{Dir: dir})
	r.measure(cgroupScope, attributes(idA), sec(0), uptime(10))
	r.measure(cgroupScope, attributes(idB), sec(0), uptime(10))
	require.NoError(t, r.Close())
	table, _ := reopen(t, dir)
	again := rig{t, table}
	again.measure(cgroupScope, attributes(idA), sec(3600), uptime(3610))
	require.NoError(t, table.Maintain())
	require.Equal(t, 2, table.Stats().Running)
	again.measure(cgroupScope, attributes(idA), sec(3721), uptime(3731))
	require.NoError(t, table.Maintain())
	e, _ := table.Lookup(idB)
	require.Equal(t, sec(0), e.Stop)
	require.Len(t, table.List(Filter{}), 2)
	require.NoError(t, table.Close())
}

func TestWrittenAnewWhenGrown(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, Options{Dir: dir, Max: 100})
	path := filepath.Join(dir, fileName)
	var largest int64
	long := strings.Repeat("x", 1000)
	for i := range 12_000 { // 1.2 kB each, 14 MB in total
		r.measure(cgroupScope, attributes(fmt.Sprint(i), "container.name", long), sec(float64(i)), uptime(0))
		r.kernel("container.stop", fmt.Sprint(i), sec(float64(i)+0.5), "container.lifetime", 0.5)
		if i%50 == 0 {
			require.NoError(t, r.Maintain())
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, info.Size(), r.Stats().FileBytes)
			largest = max(largest, info.Size())
		}
	}
	s := r.Stats()
	require.Equal(t, 100, s.Entities)
	require.GreaterOrEqual(t, s.Rewrites, uint64(3))
	require.Less(t, largest, int64(slack+1<<20))
	require.Zero(t, s.WriteErrors)
}

func TestBoundOfFile(t *testing.T) {
	big := newRig(t, Options{})
	for i := range 50 {
		big.kernel("container.stop", fmt.Sprint("dead", i), sec(float64(10+i)), "container.lifetime", 1.0)
	}
	big.Observe(attributes(idA), sec(1))
	var text bytes.Buffer
	require.NoError(t, big.Write(&text, nil))
	table, rec, err := Load(&text, Options{Max: 10})
	require.NoError(t, err)
	require.Equal(t, 10, rec.Entities)
	require.Equal(t, 41, rec.Evicted)
	_, ok := table.Lookup(idA)
	require.True(t, ok, "it has not ended")
	_, ok = table.Lookup("dead41")
	require.True(t, ok)
	_, ok = table.Lookup("dead40")
	require.False(t, ok)
}

// TestUnwritable: the file cannot be written for a while. Nothing is lost but
// what a crash in between would cost.
func TestUnwritable(t *testing.T) {
	dir := t.TempDir()
	now := sec(0)
	table, rec, err := Open(Options{Dir: dir, Now: func() time.Time { return now }})
	require.NoError(t, err)
	require.NoError(t, rec.Rewrite)
	r := rig{t, table}
	now = sec(10)
	r.Observe(attributes(idA), sec(1))
	require.NoError(t, table.journal.file.Close()) // a device that has gone
	require.ErrorIs(t, table.Maintain(), os.ErrClosed)
	r.Observe(attributes(idB), sec(2))
	require.NoError(t, table.Maintain(), "it waits before it tries again")
	blocker := filepath.Join(dir, fileName+".tmp")
	require.NoError(t, os.Mkdir(blocker, 0o700))
	now = sec(60)
	require.Error(t, table.Maintain())
	require.NoError(t, os.RemoveAll(blocker))
	now = sec(120)
	require.NoError(t, table.Maintain())
	require.Equal(t, uint64(2), table.Stats().WriteErrors)
	other, rec := reopen(t, copyDir(t, dir))
	require.Equal(t, 2, rec.Entities)
	require.NoError(t, other.Close())
	require.NoError(t, table.Close())
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, fileName), 0o700))
	_, _, err := Open(Options{Dir: dir})
	require.ErrorContains(t, err, "read entities.jsonl")
	_, _, err = Open(Options{Dir: filepath.Join(dir, fileName, "x\x00")})
	require.ErrorContains(t, err, "make directory")
}

func TestWriteChosen(t *testing.T) {
	r := newRig(t, Options{})
	fill(r)
	var text bytes.Buffer
	require.NoError(t, r.Write(&text, func(e *Entity) bool { return e.Name == "web" }))
	table, rec, err := Load(&text, Options{})
	require.NoError(t, err)
	require.Equal(t, 1, rec.Entities)
	e, ok := table.Lookup(idB)
	require.True(t, ok)
	require.Equal(t, r.lookup(idB).Tags, e.Tags)
	full := errors.New("full")
	require.ErrorIs(t, r.Write(brokenWriter{full}, nil), full)
	_, _, err = Load(brokenReader{full}, Options{})
	require.ErrorIs(t, err, full)
}

type brokenWriter struct{ err error }

func (b brokenWriter) Write([]byte) (int, error) { return 0, b.err }

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

// FuzzLine: what a line is read as can be written and is read as the same.
func FuzzLine(f *testing.F) {
	r := newTable(Options{Now: func() time.Time { return epoch }})
	r.Observe(attributes(idA, "container.name", "web"), sec(-1))
	var text bytes.Buffer
	if err := r.Write(&text, nil); err != nil {
		f.Fatal(err)
	}
	for line := range bytes.Lines(text.Bytes()) {
		f.Add(bytes.TrimSpace(line))
	}
	f.Add([]byte(`{"entity":{"seq":1,"id":"x","first_seen":"0001-01-01T00:30:00+01:00","last_seen":"9999-12-31T23:59:59-01:00"}}`))
	f.Add([]byte(`{"entity":{"seq":7,"id":"x","first_seen":"2026-11-20T03:12:00Z","degraded":[{"reason":"oom"}],"cpu_seconds":1e308}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		parsed, err := parseLine(text)
		if err != nil {
			return
		}
		var once, twice bytes.Buffer
		appendLine(&once, parsed)
		again, err := parseLine(once.Bytes())
		if err != nil {
			t.Fatalf("%q cannot be read: %v", once.Bytes(), err)
		}
		appendLine(&twice, again)
		if !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Fatalf("%q became %q", once.Bytes(), twice.Bytes())
		}
	})
}

// FuzzFile: whatever is in the file, it can be opened, and what is written then is
// read without a loss.
func FuzzFile(f *testing.F) {
	entity := `{"entity":{"seq":%d,"id":"%s","first_seen":"2026-11-20T03:12:00Z","last_seen":"2026-11-20T03:12:00Z"}}` + "\n"
	f.Add([]byte("{\"format\":1}\n" + fmt.Sprintf(entity, 1, "a") + fmt.Sprintf(entity, 2, "a")))
	f.Add([]byte(fmt.Sprintf(entity, 9, "b") + "\n\n{\"alive\":\"2026-11-20T03:12:00Z\"}\n{\"ent"))
	f.Fuzz(func(t *testing.T, text []byte) {
		table, rec, err := Load(bytes.NewReader(text), Options{Max: 4})
		if err != nil {
			t.Fatal(err)
		}
		if rec.Entities > 4 || rec.Entities != len(table.List(Filter{})) {
			t.Fatalf("%d entities", rec.Entities)
		}
		var written bytes.Buffer
		if err := table.Write(&written, nil); err != nil {
			t.Fatal(err)
		}
		again, second, err := Load(&written, Options{Max: 4})
		if err != nil {
			t.Fatal(err)
		}
		if want := (Recovery{Entities: rec.Entities}); second != want {
			t.Fatalf("the second time: %+v, want %+v", second, want)
		}
		if diff := cmp.Diff(table.List(Filter{}), again.List(Filter{})); diff != "" {
			t.Fatal(diff)
		}
	})
}
