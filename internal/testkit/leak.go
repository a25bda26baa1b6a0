package testkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// settleWithin is how long goroutines and descriptors may take to go away
// after the test: closing a socket and seeing its reader end is asynchronous.
const settleWithin = 3 * time.Second

// ErrLeak says that something opened was not closed.
var ErrLeak = errors.New("left open")

// VerifyNoLeaks fails the test if, when it ends, goroutines or descriptors
// exist that did not exist at this call. Call it first: the cleanups of
// everything acquired later then run before the check. Not for parallel tests.
func VerifyNoLeaks(t testing.TB) {
	t.Helper()
	goroutines := goleak.IgnoreCurrent()
	before, err := openFiles()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
		defer cancel()
		if err := Poll(ctx, func() error { return leakedFiles(before) }); err != nil {
			t.Errorf("descriptors: %v", err)
		}
		if err := goleak.Find(goroutines); err != nil {
			t.Errorf("goroutines: %v", err)
		}
	})
}

// Main runs the tests of a package, checks that nothing is left open by all of
// them together, and exits:
//
//	func TestMain(m *testing.M) { testkit.Main(m) }
//
// What the tests share is closed by the functions given.
//
// A private engine (see Docker) needs no stopping here: it ends by itself when
// its last user process has.
func Main(m *testing.M, closeShared ...func()) {
	os.Exit(runMain(m, closeShared))
}

func runMain(m *testing.M, closeShared []func()) int {
	before, err := openFiles()
	if err != nil {
		fmt.Fprintln(os.Stderr, "testkit:", err)
		return 1
	}
	code := m.Run()
	for _, f := range closeShared {
		f()
	}
	if code != 0 {
		return code
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	defer cancel()
	err = Poll(ctx, func() error { return leakedFiles(before) })
	if err = errors.Join(err, goleak.Find()); err != nil {
		fmt.Fprintln(os.Stderr, "testkit: after all tests:", err)
		return 1
	}
	return 0
}

// openFiles maps each open descriptor to what it is, such as
// "socket:[12345]" or a path.
func openFiles() (map[string]string, error) {
	// The runtime opens its poller on first use and keeps it. Use it now, so
	// that it is there before as well as after.
	if err := wakePoller(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, fmt.Errorf("list descriptors: %w", err)
	}
	files := make(map[string]string, len(entries))
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err == nil { // the one that listed the directory is closed again
			files[e.Name()] = target
		}
	}
	return files, nil
}

func wakePoller() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("open a pipe: %w", err)
	}
	return errors.Join(r.Close(), w.Close())
}

// leakedFiles compares the descriptors open now with those before.
func leakedFiles(before map[string]string) error {
	now, err := openFiles()
	if err != nil {
		return err
	}
	var leaks []string
	for fd, target := range now {
		if before[fd] != target {
			leaks = append(leaks, fd+" -> "+target)
		}
	}
	if len(leaks) == 0 {
		return nil
	}
	slices.Sort(leaks)
	return fmt.Errorf("%w: %s", ErrLeak, strings.Join(leaks, ", "))
}
