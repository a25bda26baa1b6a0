package runner

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
)

// instance is one receiver with its parts, one for each signal.
type instance struct {
	spec spec.Spec
	at   place
	host *host
	gate *gate
	// ctx is what the parts are started with. Some receivers go on using it, so
	// that it ends with them and not with their start.
	ctx    context.Context
	cancel context.CancelFunc
	// panicked takes note of a panic with its stack.
	panicked func(i *instance, v verb, value any, stack []byte)

	parts []component.Component // belongs to the goroutine of the call under way
}

// gate is what an instance's data passes.
type gate struct {
	// muted: its metrics are about an address that may be another's by now, or
	// another one tells of the same target. stopped: nothing may come any more.
	muted, stopped atomic.Bool
	// waning: it is not wanted any more, and runs on for a while. That it reaches
	// nobody then is no news.
	waning  atomic.Bool
	dropped *atomic.Uint64
}

// start starts all parts. Whatever comes of it, stop ends them.
func (i *instance) start() error {
	for n, part := range i.parts {
		if err := i.guarded(toStart, func() error { return part.Start(i.ctx, i.host) }); err != nil {
			i.parts = i.parts[:n+1]
			return err
		}
	}
	if i.ctx.Err() != nil { // what it was started with is of no use any more
		return fmt.Errorf("start: %w", errOverdue)
	}
	return nil
}

// stop stops the parts in the reverse order. Nothing of theirs goes on after it.
func (i *instance) stop(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var all error
	for _, part := range slices.Backward(i.parts) {
		all = errors.Join(all, i.guarded(toStop, func() error { return part.Shutdown(ctx) }))
	}
	i.shut()
	return all
}

// shut lets nothing through any more. Any goroutine may call it.
func (i *instance) shut() {
	i.gate.stopped.Store(true)
	i.cancel()
}

// asksOtherwise tells whether it asks another address, or something else there.
func (i *instance) asksOtherwise(want *spec.Spec) bool {
	return i.spec.Endpoint != want.Endpoint || !sameConfig(i.spec.Config, want.Config)
}

func sameConfig(a, b map[string]any) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}

// sharesStorage tells whether both keep what they have read in the same file, which
// only one of them can open.
func (i *instance) sharesStorage(want *spec.Spec) bool {
	return i.spec.Config[storageKey] != nil && want.Config[storageKey] != nil
}

// storageKey is the setting of receivers that use a storage extension.
const storageKey = "storage"

// runs tells whether this is what is wanted. Of nil it is not, and of what nobody hears.
func (i *instance) runs(want *spec.Spec) bool {
	return i != nil && !i.gate.muted.Load() && i.spec.Equal(want)
}

// wane says whether it is still wanted. Of nil it does nothing.
func (i *instance) wane(isUnwanted bool) {
	if i != nil {
		i.gate.waning.Store(isUnwanted)
	}
}

// fatal is why the receiver has given up; nil if it has not.
func (i *instance) fatal() error {
	if i == nil {
		return nil
	}
	return i.host.fatal()
}

// guarded calls foreign code. A panic is its failure and not the Collector's.
func (i *instance) guarded(v verb, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: panic: %v", v, p)
			i.panicked(i, v, p, debug.Stack())
		}
	}()
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", v, err)
	}
	return nil
}

// host is what a receiver sees of the Collector. A fatal error of one receiver
// would end the Collector, if it got there.
type host struct {
	component.Host
	wake func()

	mu  sync.Mutex // guards err
	err error
}

// Report implements [componentstatus.Reporter].
func (h *host) Report(e *componentstatus.Event) {
	if e.Status() != componentstatus.StatusFatalError && e.Status() != componentstatus.StatusPermanentError {
		return
	}
	h.mu.Lock()
	if h.err == nil {
		h.err = fmt.Errorf("run: %w", e.Err())
	}
	h.mu.Unlock()
	h.wake()
}

func (h *host) fatal() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}
