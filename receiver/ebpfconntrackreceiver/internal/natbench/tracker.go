package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/nat"
)

// tracker is what a round is measured with.
type tracker string

const (
	none      tracker = "none"
	records   tracker = "records"
	pull      tracker = "pull"
	ctnetlink tracker = "ctnetlink"
)

func trackers() []tracker { return []tracker{none, records, pull, ctnetlink} }

// tracked is what a tracker has to show for its cost.
type tracked struct {
	// Records are those of the bed, Lost are all that the kernel had no room for.
	Records, Lost uint64
	// Resolved records have the right answer, Wrong ones another one.
	Resolved, Wrong uint64
	// Gets and Overflows are of the table: questions to the kernel, and how often
	// events were lost.
	Gets, Overflows uint64
}

// The namespaces of the two ends, as the tracker's environment has them.
const (
	clientVariable = "TALLYMAN_NATBENCH_CLIENT"
	serverVariable = "TALLYMAN_NATBENCH_SERVER"
)

// following is a tracker at work.
type following struct {
	client, server uint64 // inodes of the ends' namespaces
	resolver       nat.Resolver

	// Of the stream's goroutine.
	queries []nat.Query
	answers []nat.Answer

	mu  sync.Mutex // guards what follows
	sum tracked
	err error
}

// ballastBytes is about the heap of an agent with its other components: without it
// the collector would run far more often than there.
const ballastBytes = 32 << 20

func runTracker(t tracker) error {
	ballast := make([]byte, ballastBytes)
	defer runtime.KeepAlive(&ballast)
	f := &following{}
	if t == none {
		return obey(f.settle)
	}
	for name, to := range map[string]*uint64{clientVariable: &f.client, serverVariable: &f.server} {
		n, err := strconv.ParseUint(os.Getenv(name), 10, 64)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		*to = n
	}
	if t != records {
		resolver, _, err := nat.Open(nat.Options{Mode: nat.Mode(t)})
		if err != nil {
			return err
		}
		defer resolver.Close()
		f.resolver = resolver
	}
	stream, err := connstream.Open(connstream.Options{Handle: f.take, Lost: f.lose})
	if err != nil {
		return err
	}
	defer stream.Close()
	return obey(f.settle)
}

// take asks who is at the other end of each record of the bed.
func (f *following) take(batch []connstream.Record) {
	f.queries = f.queries[:0]
	for i := range batch {
		r := &batch[i]
		if r.Netns != f.client && r.Netns != f.server {
			continue // of somebody else on this machine
		}
		f.queries = append(f.queries, nat.Query{
			Pair: nat.Pair{Local: r.Local, Remote: r.Remote}, Transport: nat.TCP, Netns: r.Netns, Ended: true,
		})
	}
	if f.answers = f.answers[:0]; f.resolver == nil {
		f.judge()
		return
	}
	f.answers = append(f.answers, make([]nat.Answer, len(f.queries))...)
	if err := f.resolver.Resolve(context.Background(), nat.Namespace{}, f.queries, f.answers); err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.err = err
		return
	}
	f.judge()
}

func (f *following) judge() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sum.Records += uint64(len(f.queries))
	for i := range f.answers {
		switch {
		case !f.answers[i].Found:
		case f.isRight(&f.queries[i], &f.answers[i]):
			f.sum.Resolved++
		default:
			f.sum.Wrong++
		}
	}
}

// isRight compares with what the bed's rules do.
func (f *following) isRight(q *nat.Query, a *nat.Answer) bool {
	if q.Netns == f.client {
		return a.Origin == nat.Original && a.Real.Remote == server() && a.Real.Local.Addr().String() == routerOutside
	}
	return a.Origin == nat.Reply && a.Real.Local == published() && isClient(a.Real.Remote.Addr())
}

func isClient(a netip.Addr) bool { return strings.HasPrefix(a.String(), clientNetwork) }

func (f *following) lose(n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sum.Lost += n
}

// settle waits until the tracker has nothing more to do, and reports.
func (f *following) settle(int) (tracked, error) {
	until := time.Now().Add(patience)
	tick := time.NewTicker(settleTick)
	defer tick.Stop()
	last, err := processTime()
	if err != nil {
		return tracked{}, err
	}
	for quiet := 0; quiet < settleTicks && time.Now().Before(until); {
		<-tick.C
		now, err := processTime()
		if err != nil {
			return tracked{}, err
		}
		if quiet++; now-last > settleBelow {
			quiet = 0
		}
		last = now
	}
	return f.result()
}

const (
	// A tracker that has nothing to do looks at the ring buffer ten times a second
	// and sweeps its table once, which is below settleBelow in a tick; 20,000
	// events, which are the least that is waited for, take it twenty times that.
	settleTick  = 100 * time.Millisecond
	settleTicks = 5
	settleBelow = 3 * time.Millisecond
)

func (f *following) result() (tracked, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := f.sum
	if f.resolver != nil {
		s := f.resolver.Stats()
		sum.Gets, sum.Overflows = s.Gets, s.Lost
	}
	return sum, f.err
}
