package nat

import (
	"context"
	"errors"
	"sync"

	"github.com/tallymanhq/tallyman/internal/ownthread"
)

// errClosed is what calls get after Close.
var errClosed = errors.New("resolver is closed")

// thread is one thread of the system that runs functions in network namespaces.
// It waits in that of its places' home and goes elsewhere only for one function:
// a thread keeps the namespace it is in alive.
type thread struct {
	places places
	jobs   chan job
	stop   chan struct{}
	done   chan struct{}
	once   sync.Once

	mu     sync.Mutex // held by the function that runs; guards what follows
	closed bool
}

type job struct {
	at  Namespace
	run func() error
	err chan error
}

// startThread returns when the thread is home.
func startThread(p places) (*thread, error) {
	t := &thread{places: p, jobs: make(chan job), stop: make(chan struct{}), done: make(chan struct{})}
	ready := make(chan error, 1)
	go func() {
		defer close(t.done)
		ownthread.Do(func() { t.serve(ready) })
	}()
	if err := <-ready; err != nil {
		<-t.done
		return nil, err
	}
	return t, nil
}

// do runs f in the namespace, one f at a time. One that has begun is waited for,
// also when ctx ends: it takes microseconds, and writes to memory of the caller.
func (t *thread) do(ctx context.Context, at Namespace, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if at.Inode == t.places.own {
		// So is the caller's thread. The way to another one and back takes 40 µs.
		return t.alone(f)
	}
	j := job{at: at, run: f, err: make(chan error, 1)}
	select {
	case t.jobs <- j:
		return <-j.err
	case <-ctx.Done():
		return ctx.Err()
	case <-t.done:
		return errClosed
	}
}

func (t *thread) alone(f func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errClosed
	}
	return f()
}

// close waits for what runs. Nothing does afterwards.
func (t *thread) close() {
	t.once.Do(func() { close(t.stop) })
	<-t.done
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
}

func (t *thread) serve(ready chan<- error) {
	if t.places.home.Inode != t.places.own {
		if err := t.places.home.enter(); err != nil {
			ready <- err
			return
		}
	}
	ready <- nil
	for {
		select {
		case <-t.stop:
			return
		case j := <-t.jobs:
			back, err := t.visit(j)
			j.err <- err
			if back != nil { // lost: nothing may run where it does not belong
				return
			}
		}
	}
}

// visit returns why there was no way back home, and what became of the job.
func (t *thread) visit(j job) (back, err error) {
	if j.at.Inode == t.places.home.Inode {
		return nil, t.alone(j.run)
	}
	if err := j.at.enter(); err != nil {
		return nil, err
	}
	err = t.alone(j.run)
	back = t.places.home.enter()
	return back, errors.Join(err, back)
}
