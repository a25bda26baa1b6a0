package ownthread_test

import (
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/ownthread"
)

func TestThreadEnds(t *testing.T) {
	ran := 0
	ownthread.Do(func() {
		ran = unix.Gettid()
		require.NotEqual(t, unix.Getpid(), ran, "the first thread cannot end")
		require.Contains(t, threads(t), ran)
	})
	require.NotZero(t, ran)
	require.Eventually(t, func() bool { return !slices.Contains(threads(t), ran) }, 20*time.Second, time.Millisecond)
}

// A goroutine that ends itself, as a failed test does, lets the caller go on.
func TestGoexit(*testing.T) {
	ownthread.Do(runtime.Goexit)
}

// The runtime may well give f the first thread, which the caller has just left.
func TestFirstThreadIsSpared(t *testing.T) {
	const tries = 100
	for range tries {
		onFirstThread(t, func() {
			ownthread.Do(func() { require.NotEqual(t, unix.Getpid(), unix.Gettid()) })
		})
	}
}

// onFirstThread runs f where the process' first thread is, by occupying others until
// it is found. It is not held: f may be moved, and others may take the thread.
func onFirstThread(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	defer close(done)
	// Without a bound a first thread that is lost would be looked for for ever.
	for n, found := 0, false; !found; n++ {
		if n == 1000 {
			t.Fatal("the first thread has gone")
		}
		turn := make(chan bool)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if unix.Gettid() != unix.Getpid() {
				turn <- false
				<-done
				return
			}
			runtime.UnlockOSThread()
			f()
			runtime.LockOSThread()
			turn <- true
		}()
		found = <-turn
	}
}

func threads(t *testing.T) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	ids := make([]int, 0, len(entries))
	for _, e := range entries {
		var id int
		for _, c := range e.Name() {
			id = id*10 + int(c-'0')
		}
		ids = append(ids, id)
	}
	return ids
}
