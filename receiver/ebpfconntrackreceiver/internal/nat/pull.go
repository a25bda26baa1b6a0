package nat

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// pull asks the kernel about each query, by a BPF program that user space runs.
type pull struct {
	bpf    conntrackObjects
	shared *ebpf.Memory // the program's slots
	thread *thread
	counts counts

	// The memory of one run; only what the thread runs touches it.
	slots [conntrackBatchSLOT_COUNT]conntrackSlot
	place [conntrackBatchSLOT_COUNT]int // of the query in its batch
	want  [conntrackBatchSLOT_COUNT]tuple
	run   ebpf.RunOptions
}

// counts are the counters that every implementation has.
type counts struct {
	lookups, hits, misses, errors atomic.Uint64
}

func (c *counts) stats() Stats {
	return Stats{Lookups: c.lookups.Load(), Hits: c.hits.Load(), Misses: c.misses.Load(), Errors: c.errors.Load()}
}

// openPull loads the program and runs it once, empty. It takes over the home
// namespace of places only if there is no error.
func openPull(p places) (*pull, error) {
	r := &pull{}
	if err := loadPull(&r.bpf); err != nil {
		return nil, err
	}
	var err error
	if r.shared, err = r.bpf.Slots.Memory(); err != nil {
		_ = r.bpf.Close()
		return nil, refusal(fmt.Errorf("map memory of BPF program: %w", err))
	}
	// What the program is handed as a packet, and never looks at: the smallest
	// that the kernel takes (net/bpf/test_run.c, ETH_HLEN and a byte).
	r.run.Data = make([]byte, 64)
	thread, err := startThread(p)
	if err != nil {
		_ = r.bpf.Close()
		return nil, err
	}
	r.thread = thread
	if err := r.thread.do(context.Background(), p.home, func() error { return r.look(0) }); err != nil {
		r.thread.close()
		_ = r.bpf.Close()
		return nil, err
	}
	return r, nil
}

// Resolve implements [Resolver].
func (r *pull) Resolve(ctx context.Context, at Namespace, queries []Query, answers []Answer) error {
	at = r.thread.places.of(at)
	r.counts.lookups.Add(uint64(len(queries)))
	err := r.thread.do(ctx, at, func() error { return r.resolve(at.Inode, queries, answers) })
	if err != nil {
		clear(answers[:len(queries)])
		r.counts.errors.Add(uint64(len(queries)))
	}
	return err
}

// Stats implements [Resolver].
func (r *pull) Stats() Stats { return r.counts.stats() }

// Close implements [Resolver].
func (r *pull) Close() error {
	r.thread.close()
	return errors.Join(r.bpf.Close(), r.thread.places.home.Close())
}

// tally is what became of one call's queries: it is counted once all of them
// went well.
type tally struct{ hits, misses, errors uint64 }

// resolve runs in the namespace.
func (r *pull) resolve(at uint64, queries []Query, answers []Answer) error {
	var t tally
	for next := 0; next < len(queries); {
		n := 0
		for ; next < len(queries) && n < len(r.slots); next++ {
			answers[next] = Answer{}
			want, ok := asked(&queries[next], at)
			if !ok {
				t.misses++
				continue
			}
			r.slots[n], r.want[n], r.place[n] = slotOf(&queries[next], want), want, next
			n++
		}
		if n == 0 {
			continue
		}
		if err := r.look(n); err != nil {
			return err
		}
		r.collect(n, answers, &t)
	}
	r.counts.hits.Add(t.hits)
	r.counts.misses.Add(t.misses)
	r.counts.errors.Add(t.errors)
	return nil
}

func (r *pull) collect(n int, answers []Answer, t *tally) {
	for i := range n {
		slot := &r.slots[i]
		switch unix.Errno(-slot.Error) {
		case 0:
			e := slot.entry()
			answer := e.answer(r.want[i])
			if !answer.Found { // the kernel never says so of another tuple
				t.errors++
				continue
			}
			answers[r.place[i]] = answer
			t.hits++
		case unix.ENOENT:
			t.misses++
		default:
			t.errors++
		}
	}
}

// look has the kernel fill in the first n slots.
func (r *pull) look(n int) error {
	filled := n
	if n < len(r.slots) {
		r.slots[n] = conntrackSlot{} // ends the batch
		filled++
	}
	if _, err := r.shared.WriteAt(bytesOf(r.slots[:filled]), 0); err != nil {
		return fmt.Errorf("write queries to BPF map: %w", err)
	}
	if _, err := r.bpf.Lookup.Run(&r.run); err != nil {
		return fmt.Errorf("run conntrack lookup: %w", err)
	}
	if _, err := r.shared.ReadAt(bytesOf(r.slots[:filled]), 0); err != nil {
		return fmt.Errorf("read answers from BPF map: %w", err)
	}
	return nil
}

// bytesOf looks at slots as the program does. Their size is a multiple of 8 bytes,
// to which the kernel aligns the elements of an array.
func bytesOf(slots []conntrackSlot) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(slots))), uintptr(len(slots))*unsafe.Sizeof(conntrackSlot{}))
}

func slotOf(q *Query, t tuple) conntrackSlot {
	s := conntrackSlot{Protocol: uint8(q.Transport), Zone: q.Zone, Family: unix.AF_INET}
	if t.source.Addr().Is6() {
		s.Family = unix.AF_INET6
	}
	putAddress(&s.Asked.Source, t.source.Addr())
	putAddress(&s.Asked.Destination, t.destination.Addr())
	s.Asked.SourcePort = bits.ReverseBytes16(t.source.Port())
	s.Asked.DestinationPort = bits.ReverseBytes16(t.destination.Port())
	return s
}

func putAddress(to *[16]uint8, a netip.Addr) { copy(to[:], a.AsSlice()) }

func (s *conntrackSlot) entry() entry {
	return entry{
		transport: Transport(s.Protocol), zone: s.FoundZone,
		original: s.Original.decode(s.Family), reply: s.Reply.decode(s.Family),
	}
}

// decode reads ports of the network's byte order: the object is for machines of
// the other one only.
func (t *conntrackTuple) decode(family uint8) tuple {
	source, destination := netip.AddrFrom16(t.Source), netip.AddrFrom16(t.Destination)
	if family == unix.AF_INET {
		source, destination = netip.AddrFrom4([4]byte(t.Source[:4])), netip.AddrFrom4([4]byte(t.Destination[:4]))
	}
	return tuple{
		source:      netip.AddrPortFrom(source, bits.ReverseBytes16(t.SourcePort)),
		destination: netip.AddrPortFrom(destination, bits.ReverseBytes16(t.DestinationPort)),
	}
}
