package join_test

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/join"
)

// perBatch are the ends of one batch: 50,000 connections a second.
const perBatch = 10_000

// record stands for what the caller keeps with an end.
type record [200]byte

// traffic makes batches of ends that are never the same connection twice within
// Remember.
type traffic struct {
	ends []join.End
	n    uint32
}

// hairpins are connections under NAT, of which both ends want to know.
func (r *traffic) hairpins() {
	gateway := netip.AddrFrom4([4]byte{172, 17, 0, 1})
	dialled := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), 8080)
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 17, 0, 3}), 80)
	r.ends = r.ends[:0]
	for len(r.ends) < perBatch {
		from, port := r.client()
		seen := netip.AddrPortFrom(gateway, port)
		begin := time.Hour + time.Duration(r.n)*20*time.Microsecond
		one := join.End{
			Direction: join.Outgoing, Local: from, Remote: dialled, RealLocal: seen, RealRemote: to, Owner: "c1",
			Started: begin, Established: begin + 1, Ended: begin + time.Millisecond, Sent: 16, Received: 32, Wanted: true,
		}
		two := join.End{
			Direction: join.Incoming, Local: to, Remote: seen, RealLocal: dialled, RealRemote: from, Owner: "c2",
			Started: begin + 2, Established: begin + 2, Ended: begin + time.Millisecond, Sent: 32, Received: 16, Wanted: true,
		}
		r.ends = append(r.ends, one, two)
	}
}

// lonely are ends of connections with other hosts; all wait in vain.
func (r *traffic) lonely(wanted bool) {
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 17, 0, 3}), 80)
	r.ends = r.ends[:0]
	for len(r.ends) < perBatch {
		from, _ := r.client()
		begin := time.Hour + time.Duration(r.n)*20*time.Microsecond
		r.ends = append(r.ends, join.End{
			Direction: join.Incoming, Local: to, Remote: from, RealLocal: to, RealRemote: from, Owner: "c2",
			Started: begin, Established: begin, Ended: begin + time.Millisecond, Wanted: wanted,
		})
	}
}

// proxied are connections of one client through one docker-proxy, 50 at a time, all
// of the same bytes: four ends each.
func (r *traffic) proxied() {
	gateway := netip.AddrFrom4([4]byte{172, 17, 0, 1})
	published := netip.AddrPortFrom(gateway, 8080)
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 17, 0, 3}), 80)
	r.ends = r.ends[:0]
	for len(r.ends) < perBatch {
		from, port := r.client()
		dialler := netip.AddrPortFrom(gateway, port)
		begin := time.Hour + time.Duration(r.n)*40*time.Microsecond
		add := func(local, remote netip.AddrPort, d join.Direction, after time.Duration) {
			e := join.End{
				Direction: d, Local: local, Remote: remote, Started: begin + after, Established: begin + after,
				Ended: begin + 2*time.Millisecond, Sent: 16, Received: 32, Owner: "c", Wanted: true,
			}
			if d == join.Incoming {
				e.Sent, e.Received = 32, 16
			}
			if after == 2 || after == 3 {
				e.Proxy, e.PID, e.Owner, e.Wanted = true, 77, "", false
			}
			r.ends = append(r.ends, e)
		}
		add(from, published, join.Outgoing, 1)
		add(published, from, join.Incoming, 2)
		add(dialler, to, join.Outgoing, 3)
		add(to, dialler, join.Incoming, 4)
	}
}

// client is another one each time, of 64 million.
func (r *traffic) client() (netip.AddrPort, uint16) {
	r.n++
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 10<<24|r.n>>10&0xffff)
	port := uint16(1024 + r.n&0x3ff)
	return netip.AddrPortFrom(netip.AddrFrom4(a), port), port + uint16(r.n>>10&0x3f)<<10
}

func kinds() map[string]func(*traffic) {
	return map[string]func(*traffic){
		"hairpin":  (*traffic).hairpins,
		"lonely":   func(r *traffic) { r.lonely(true) },
		"unwanted": func(r *traffic) { r.lonely(false) },
		"proxy":    (*traffic).proxied,
	}
}

// feed adds batches and takes what is handed out.
type feed struct {
	joiner *join.Joiner[record]
	now    time.Duration
	found  int
	each   func(*join.End, *record, join.Found)
}

func newFeed() *feed {
	// 10,000 ends every 100 ms wait for three batches.
	f := &feed{joiner: join.New[record](join.Options{MaxWaiting: 5 * perBatch})}
	f.each = func(_ *join.End, _ *record, found join.Found) {
		if found.Known {
			f.found++
		}
	}
	return f
}

func (f *feed) batch(ends []join.End) {
	f.now += batch
	var r record
	for i := range ends {
		f.joiner.Add(f.now, ends[i], r)
	}
	f.joiner.Take(f.now, f.each)
}

// threadTime is the CPU time of this thread: others share the machine.
func threadTime(b *testing.B) time.Duration {
	var at unix.Timespec
	require.NoError(b, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &at))
	return time.Duration(at.Nano())
}

// BenchmarkJoin is a batch of 10,000 ends, added and taken, when as many are
// remembered as may be.
func BenchmarkJoin(b *testing.B) {
	for name, fill := range kinds() {
		b.Run(name, func(b *testing.B) {
			f, r := newFeed(), &traffic{}
			for range 20 {
				fill(r)
				f.batch(r.ends)
			}
			b.ReportAllocs()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			f.found = 0
			spent := time.Duration(0)
			for b.Loop() {
				b.StopTimer()
				fill(r)
				b.StartTimer()
				begin := threadTime(b)
				f.batch(r.ends)
				spent += threadTime(b) - begin
			}
			n := float64(b.N) * perBatch
			b.ReportMetric(float64(spent.Nanoseconds())/n, "cpu-ns/end")
			b.ReportMetric(float64(f.found)/n, "found/end")
		})
	}
}

func TestBudgets(t *testing.T) {
	for name, fill := range kinds() {
		t.Run(name, func(t *testing.T) {
			f, r := newFeed(), &traffic{}
			for range 20 {
				fill(r)
				f.batch(r.ends)
			}
			perRun := testing.AllocsPerRun(10, func() {
				fill(r)
				f.batch(r.ends)
			})
			require.Zero(t, perRun, "allocations for a batch")
			if name == "hairpin" {
				s := f.joiner.Stats()
				require.Equal(t, s.Added-perBatch, s.Paired, "all but the last batch")
			}
		})
	}
}
