package ownthread

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Do runs f on a thread that ends with f, and waits for it. It is never the
// process' first thread: that one cannot end, and what it is changed to is what
// /proc/self shows of the process to everybody. What f leaves open, such as
// sockets, outlives the thread.
func Do(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done) // also where f ends the goroutine, as a failed test does
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// Held here meanwhile, so the next one is another.
			defer runtime.UnlockOSThread()
			Do(f)
			return
		}
		f()
	}()
	<-done
}
