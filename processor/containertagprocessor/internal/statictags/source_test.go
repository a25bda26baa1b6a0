package statictags_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/sinktest"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/statictags"
)

var _ entity.Source = (*statictags.Source)(nil)

const (
	up   = "up host_tags"
	down = "down host_tags"
)

// start runs a source over file. It rechecks so seldom that only the watch can
// be what finds a change.
func start(t *testing.T, file string) *sinktest.Recorder {
	t.Helper()
	testkit.VerifyNoLeaks(t)
	sink := new(sinktest.Recorder)
	sinktest.Run(t, statictags.New(statictags.Options{
		Tags:     map[string]string{"role": "any", "site": "north"},
		File:     file,
		Debounce: 20 * time.Millisecond,
		Recheck:  time.Hour,
		Retry:    20 * time.Millisecond,
	}), sink)
	return sink
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What the configuration says is told before anything is waited for.
func TestBegin(t *testing.T) {
	sink := new(sinktest.Recorder)
	statictags.New(statictags.Options{Tags: map[string]string{"role": "any"}, File: "/nowhere"}).Begin(sink)
	sink.AwaitHost(t, "role", "any")
}

func TestConfigurationOnly(t *testing.T) {
	sink := start(t, "")
	sink.Await(t, up, 1)
	sink.AwaitHost(t, "role", "any")
	sink.AwaitHost(t, "site", "north")
}

func TestFileWinsAndIsFollowed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tags.yaml")
	write(t, file, "role: database\nrack: 7\n")
	sink := start(t, file)
	sink.AwaitHost(t, "role", "database")
	sink.AwaitHost(t, "rack", "7")
	sink.AwaitHost(t, "site", "north")
	sink.Await(t, up, 1)

	t.Log("written in place")
	write(t, file, "role: cache\n")
	sink.AwaitHost(t, "role", "cache")
	sink.AwaitHost(t, "rack", "")

	t.Log("replaced, as editors do")
	write(t, file+".new", "role: queue\n")
	do(t, os.Rename(file+".new", file))
	sink.AwaitHost(t, "role", "queue")

	t.Log("emptied: the configuration's word is back")
	write(t, file, "")
	sink.AwaitHost(t, "role", "any")
	if n := sink.Count(down); n != 0 {
		t.Errorf("told to be down %d times: %v", n, sink.Downs())
	}
}

// Kubernetes writes a folder of its own for each version of a ConfigMap and
// swaps the link ..data.
func TestConfigMap(t *testing.T) {
	dir := t.TempDir()
	version := func(name, content string) {
		t.Helper()
		do(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		write(t, filepath.Join(dir, name, "tags.yaml"), content)
		do(t, os.Symlink(name, filepath.Join(dir, "..data_tmp")))
		do(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	version("..2026_01", "role: first\n")
	file := filepath.Join(dir, "tags.yaml")
	do(t, os.Symlink("..data/tags.yaml", file))
	sink := start(t, file)
	sink.AwaitHost(t, "role", "first")
	version("..2026_02", "role: second\n")
	sink.AwaitHost(t, "role", "second")
}

func TestBadContentKeepsTheTags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tags.yaml")
	write(t, file, "role: database\n")
	sink := start(t, file)
	sink.Await(t, up, 1)
	write(t, file, "role: [\n")
	sink.Await(t, down, 1)
	t.Log("the same mistake again, then another one, which ends the wait")
	write(t, file, "role: [\n")
	write(t, file+".other", "is no concern of ours")
	write(t, file, "- role\n")
	sink.Await(t, down, 2)
	if have := sink.Host()["role"]; have != "database" {
		t.Errorf("role is %q", have)
	}
	if downs := sink.Downs(); len(downs) != 2 || !strings.Contains(downs[1].Error(), "line 1") || !strings.Contains(downs[1].Error(), file) {
		t.Errorf("told: %v", downs)
	}
	write(t, file, "role: cache\n")
	sink.Await(t, up, 2)
	sink.AwaitHost(t, "role", "cache")
	if n := sink.Count(down); n != 2 {
		t.Errorf("down %d times", n)
	}
}

func TestFileComesAndGoes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	file := filepath.Join(dir, "tags.yaml")
	sink := start(t, file)
	sink.Await(t, down, 1)
	if err := sink.Downs()[0]; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("told %v", err)
	}
	sink.AwaitHost(t, "role", "any")

	t.Log("the folder comes, then the file")
	do(t, os.MkdirAll(dir, 0o700))
	write(t, file, "role: database\n")
	sink.AwaitHost(t, "role", "database")
	sink.Await(t, up, 1)

	t.Log("the file goes: the tags stay")
	do(t, os.Remove(file))
	sink.Await(t, down, 2)
	if have := sink.Host()["role"]; have != "database" {
		t.Errorf("role is %q", have)
	}

	t.Log("the folder is replaced by another one")
	do(t, os.Rename(dir, dir+".old"))
	do(t, os.Mkdir(dir, 0o700))
	write(t, file, "role: cache\n")
	sink.AwaitHost(t, "role", "cache")
	write(t, file, "role: queue\n")
	sink.AwaitHost(t, "role", "queue")
	if n := sink.Count(down); n > 3 {
		t.Errorf("down %d times: %v", n, sink.Downs())
	}
}

func TestWhatIsNoFile(t *testing.T) {
	f := func(want string, make func(file string) error) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "tags.yaml")
		do(t, make(file))
		sink := start(t, file)
		sink.Await(t, down, 1)
		if err := sink.Downs()[0]; !strings.Contains(err.Error(), want) {
			t.Errorf("told %v, want %q", err, want)
		}
	}
	f("not a regular file", func(file string) error { return os.Mkdir(file, 0o700) })
	f("not a regular file", func(file string) error { return syscall.Mkfifo(file, 0o600) })
	f("larger than 64 KiB", func(file string) error {
		return os.WriteFile(file, []byte(strings.Repeat("#", 64<<10+1)), 0o600)
	})
}

// The file is a link to another folder: nothing happens in the one watched.
func TestRecheckFindsWhatTheFolderDoesNotShow(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	target := filepath.Join(t.TempDir(), "target.yaml")
	write(t, target, "role: first\n")
	file := filepath.Join(t.TempDir(), "tags.yaml")
	do(t, os.Symlink(target, file))
	sink := new(sinktest.Recorder)
	sinktest.Run(t, statictags.New(statictags.Options{File: file, Recheck: 20 * time.Millisecond}), sink)
	sink.AwaitHost(t, "role", "first")
	write(t, target, "role: second\n")
	sink.AwaitHost(t, "role", "second")
}

// A folder that never rests must not keep the file from being read.
func TestRestlessFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tags.yaml")
	write(t, file, "role: first\n")
	sink := start(t, file)
	sink.Await(t, up, 1)
	write(t, file, "role: second\n")
	testkit.Eventually(t, 30*time.Second, func() error {
		// Every 10 ms, against a debounce of 20.
		if err := os.Chtimes(file, time.Now(), time.Now()); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte("role: second\n"), 0o600); err != nil {
			return err
		}
		if sink.Host()["role"] != "second" {
			return errors.New("not read yet")
		}
		return nil
	})
}
