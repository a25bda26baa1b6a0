package ebpfconntrackreceiver

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	// maxNames bounds the names that are remembered, 100 bytes each.
	maxNames = 16_384
	// nameTTL is how long a name is believed: DNS does not tell by this way how
	// long it holds.
	nameTTL = 10 * time.Minute
	// nameWorkers bounds the questions at once, nameQueue those that wait; of
	// more, the address has no name this time.
	nameWorkers = 4
	nameQueue   = 256
	nameTimeout = 2 * time.Second
)

// names asks DNS for the names of addresses, and never makes anybody wait: an
// address that was not asked about before has no name yet. It is safe for
// concurrent use; nil knows no names.
type names struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	asked   chan netip.Addr
	ask     func(context.Context, string) ([]string, error)

	mu    sync.Mutex // guards known
	known map[netip.Addr]named
}

type named struct {
	name string // "" without one, or while it is asked for
	at   time.Time
}

func newNames() *names { return newNamesBy(net.DefaultResolver.LookupAddr) }

func newNamesBy(ask func(context.Context, string) ([]string, error)) *names {
	ctx, cancel := context.WithCancel(context.Background())
	n := &names{cancel: cancel, asked: make(chan netip.Addr, nameQueue), ask: ask, known: map[netip.Addr]named{}}
	for range nameWorkers {
		n.running.Go(func() { n.work(ctx) })
	}
	return n
}

// lookup is the function for who wants a name; nil if nobody is to be asked.
func (n *names) lookup() func(netip.Addr) string {
	if n == nil {
		return nil
	}
	return n.of
}

func (n *names) of(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	n.mu.Lock()
	defer n.mu.Unlock()
	known, ok := n.known[a]
	if ok && time.Since(known.at) < nameTTL {
		return known.name
	}
	select {
	case n.asked <- a:
		if len(n.known) >= maxNames {
			clear(n.known)
		}
		n.known[a] = named{name: known.name, at: time.Now()}
	default: // too many wait
	}
	return known.name
}

func (n *names) work(ctx context.Context) {
	for {
		select {
		case a := <-n.asked:
			n.resolve(ctx, a)
		case <-ctx.Done():
			return
		}
	}
}

func (n *names) resolve(ctx context.Context, a netip.Addr) {
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	found, err := n.ask(ctx, a.String())
	if err != nil || len(found) == 0 {
		return // it has none, for as long as a name is believed
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[a] = named{name: strings.TrimSuffix(found[0], "."), at: time.Now()}
}

func (n *names) close() {
	if n == nil {
		return
	}
	n.cancel()
	n.running.Wait()
}
