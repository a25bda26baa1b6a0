package ebpfconntrackreceiver

import (
	"errors"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/procstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
)

// responseBook adds up response times by container: several cgroups may be one
// container's, and the stream forgets each of them when it is not used, whereas a
// sum must not fall. It is safe for concurrent use. A kilobyte for each key, of which the
// stream has 4096 at most.
type responseBook struct {
	mu   sync.Mutex // guards what follows
	last map[connstream.ResponseKey]connstream.ResponseTimes
	sums map[responseKey]*responseSum
}

// responseKey is what response times are shown by.
type responseKey struct {
	owner     string
	direction edges.Direction
	port      uint16
}

type responseSum struct {
	connstream.ResponseTimes
	start  time.Time // as it is told: wall time may be set, and a start may not move
	isUsed bool      // somebody still has a part in it
}

func newResponseBook() *responseBook {
	return &responseBook{last: map[connstream.ResponseKey]connstream.ResponseTimes{}, sums: map[responseKey]*responseSum{}}
}

// read brings the sums up to date.
func (b *responseBook) read(s *server) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, sum := range b.sums {
		sum.isUsed = false
	}
	seen := make(map[connstream.ResponseKey]struct{}, len(b.last))
	err := s.stream.Responses(func(k connstream.ResponseKey, now *connstream.ResponseTimes) {
		seen[k] = struct{}{}
		b.add(s.pipe.owners, k, now)
	})
	if err != nil {
		if !errors.Is(err, os.ErrClosed) {
			s.log.Debug("response times were not read", zap.Error(err))
		}
		return
	}
	for k := range b.last {
		if _, isThere := seen[k]; !isThere {
			delete(b.last, k)
		}
	}
	for k, sum := range b.sums {
		if !sum.isUsed {
			delete(b.sums, k)
		}
	}
}

// add puts what came since the last time to the sum of a container.
func (b *responseBook) add(o *owners, k connstream.ResponseKey, now *connstream.ResponseTimes) {
	i := ids{unified: k.Cgroup, memory: k.MemoryCgroup, netns: k.Netns}
	to := responseKey{direction: edges.Outgoing, port: k.ServerPort}
	if k.Direction == connstream.Incoming {
		to.direction, i.port = edges.Incoming, k.ServerPort
	}
	to.owner = o.of(i)
	sum := b.sums[to]
	if sum == nil {
		sum = &responseSum{start: procstream.WallTime(now.Start)}
		b.sums[to] = sum
	}
	sum.isUsed = true
	since := *now
	if last, ok := b.last[k]; ok && last.Start == now.Start {
		since.Sum -= last.Sum
		for n := range since.Buckets {
			since.Buckets[n] -= last.Buckets[n]
		}
	}
	sum.Merge(&since)
	b.last[k] = *now
}

// responses adds how fast servers answer, and how long clients wait.
func (b *batch) responses() {
	if b.s.stream == nil {
		return
	}
	book := b.s.book
	book.read(b.s)
	book.mu.Lock()
	defer book.mu.Unlock()
	for k, sum := range book.sums {
		point := sum.Point()
		of := clientResponse
		if k.direction == edges.Incoming {
			of = serverResponse
		}
		p := b.page(k.owner, b.s.began)
		if to, ok := p.distribution(of, stamp(sum.start), &point); ok {
			to.PutInt("server.port", int64(k.port))
		}
	}
}
