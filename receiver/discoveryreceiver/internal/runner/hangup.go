package runner

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// A receiver that is being stopped may wait for a container that has gone, and one that
// is stopped may leave connections behind: the client of prometheus
// cannot close its idle ones (otelhttp.Transport v0.69 hides them from CloseIdleConnections),
// and keeps each with two goroutines for five minutes. Most of them end with the server;
// of a container whose network is taken away with it, one in ten never hears of that
// (measured with dockerd 20.10, 50 containers). And a connection that was just being
// made goes on trying for as long as the kernel believes in the container's MAC address,
// half a minute. So they are hung up from here.

// hanger hangs up on addresses that nobody asks any more. Those that come while it is
// at it are done together: a pass looks at all descriptors of the process, 6 us each on
// a busy machine (BenchmarkHangUp).
type hanger struct {
	mu      sync.Mutex // guards all below
	pending map[netip.AddrPort]bool
	isBusy  bool
}

// hangUp ends connections to the endpoint of a receiver, unless one is wanted there.
func (r *Runner) hangUp(c *call) {
	addr, err := netip.ParseAddrPort(c.instance.spec.Endpoint)
	if err != nil {
		return // no address is meant
	}
	h := &r.hanger
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pending == nil {
		h.pending = map[netip.AddrPort]bool{}
	}
	h.pending[addr] = true
	if !h.isBusy {
		h.isBusy = true
		r.attend(c, r.hangUpAll)
	}
}

// hangUpEvery is the time between hanging up on a receiver that is being stopped. The
// first of it is for who has something to finish.
const hangUpEvery = 500 * time.Millisecond

// keepHangingUp hangs up again and again until the caller is done: a receiver that
// waits for an answer of a container that has gone stops when it has waited enough,
// nginx after ten seconds. And once more after as long: a client may begin to connect
// for a question that has been given up. Who takes longer than it may waits for
// something else.
func (r *Runner) keepHangingUp(c *call) (done func()) {
	if _, err := netip.ParseAddrPort(c.instance.spec.Endpoint); err != nil {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.o.Pace.Stop)
	r.attend(c, func() {
		defer cancel()
		ticker := time.NewTicker(hangUpEvery)
		defer ticker.Stop()
		for ctx.Err() == nil {
			select {
			case <-ticker.C:
				r.hangUp(c)
			case <-c.late:
				return
			case <-ctx.Done():
			}
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return
		}
		ticker.Reset(hangUpEvery)
		select {
		case <-ticker.C:
		case <-r.ctx.Done():
		}
		r.hangUp(c)
	})
	return cancel
}

func (r *Runner) hangUpAll() {
	for {
		addrs := r.hanger.take()
		if len(addrs) == 0 {
			return
		}
		if r.spare(addrs); len(addrs) > 0 {
			hangUp(addrs)
		}
	}
}

// take returns what waits; the caller is the one that is busy until nothing does.
func (h *hanger) take() map[netip.AddrPort]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	addrs := h.pending
	h.pending = nil
	h.isBusy = len(addrs) > 0
	return addrs
}

// spare takes out the addresses where a receiver is wanted: the next container may
// have the address of the last one.
func (r *Runner) spare(addrs map[netip.AddrPort]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	for _, want := range r.wanted {
		if addr, err := netip.ParseAddrPort(want.Endpoint); err == nil {
			delete(addrs, addr)
		}
	}
}
