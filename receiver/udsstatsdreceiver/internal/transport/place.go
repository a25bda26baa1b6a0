package transport

import (
	"context"
	"errors"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// place is a bound descriptor, where others find it, and who has it afterwards.
type place struct {
	fd int
	// path and file are what leave removes; empty for UDP.
	path string
	file inode
	// keeper has the descriptor afterwards, under the name; nil if nobody does.
	keeper *Store
	name   string
}

// leave gives the descriptor back: to who keeps it, or else to the kernel.
func (p *place) leave() error {
	if p.keeper != nil {
		p.keeper.put(p.name, p.fd)
		return nil
	}
	var err error
	if p.path != "" {
		err = withdraw(p.path, p.file)
	}
	return errors.Join(err, unix.Close(p.fd))
}

// abandon closes what could not be made ready.
func (p *place) abandon() {
	if p.fd >= 0 {
		_ = unix.Close(p.fd)
	}
}

// runs are the calls of Run that have not returned. The zero value is ready.
type runs struct {
	mu sync.Mutex
	// ends has a function for each that ends it.
	ends   map[int]context.CancelFunc
	last   int
	closed bool
	group  sync.WaitGroup
}

// begin returns a context that endAll ends too, and what to call at the end.
func (r *runs) begin(ctx context.Context) (context.Context, func(), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, nil, net.ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	r.last++
	id := r.last
	if r.ends == nil {
		r.ends = map[int]context.CancelFunc{}
	}
	r.ends[id] = cancel
	r.group.Add(1)
	end := func() {
		cancel()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.ends, id)
		r.group.Done()
	}
	return ctx, end, nil
}

// endAll ends all and waits for them. It tells whether this is the first call.
func (r *runs) endAll() bool {
	r.mu.Lock()
	first := !r.closed
	r.closed = true
	for _, end := range r.ends {
		end()
	}
	r.mu.Unlock()
	r.group.Wait()
	return first
}
