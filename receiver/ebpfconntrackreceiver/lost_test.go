package ebpfconntrackreceiver

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
)

// What finds no room in the kernel's buffer is counted and shown, to the record, and
// what comes later is there again.
func TestRingFull(t *testing.T) {
	l := startBoth(t, func(c *Config) { c.Limits.RingMiB, c.Limits.Events = 1, 1<<20 })
	all := watchAll(t)

	// 1 MiB has room for 6,500 records of 160 bytes, and up to 4,096 are in the
	// reader's hands.
	const number = 8000
	l.server.pipe.mu.Lock()
	port := func() int {
		defer l.server.pipe.mu.Unlock()
		return dialAndEnd(t, number)
	}()
	testkit.Eventually(t, lifePatience, func() error {
		if l.lost()["ring_full"] == 0 {
			return errors.New("nothing is lost")
		}
		return nil
	})
	later := dialAndEnd(t, 50)
	testkit.Eventually(t, lifePatience, func() error {
		if n := l.closedNumber(later); n != 100 {
			return fmt.Errorf("%d later records", n)
		}
		// Others on this host may have lost records, too.
		lost, missing, others := l.lost()["ring_full"], int64(2*number-l.closedNumber(port)), all.others(port, later)
		if lost < missing || lost > missing+others {
			return fmt.Errorf("%d lost, %d missing, of others at most %d", lost, missing, others)
		}
		return nil
	})
	t.Logf("%d lost, %d missing, %d others", l.lost()["ring_full"], 2*number-l.closedNumber(port), all.others(port, later))
	require.EqualValues(t, 2*number, all.of(port), "the other stream has them all")
	require.Zero(t, l.lost()["event_queue"])
}

// lost is what the receiver says of itself, by reason.
func (l *life) lost() map[string]int64 {
	l.t.Helper()
	got, err := l.own.GetMetric("otelcol_ebpf_conntrack_lost")
	require.NoError(l.t, err)
	sums := map[string]int64{}
	for _, p := range got.Data.(metricdata.Sum[int64]).DataPoints {
		reason, _ := p.Attributes.Value("reason")
		sums[reason.AsString()] += p.Value
	}
	return sums
}

// witness counts all that ends on this host, by port, with room for everything.
type witness struct {
	ports [1 << 16]atomic.Int64
	total atomic.Int64
}

func watchAll(t *testing.T) *witness {
	t.Helper()
	w := &witness{}
	s, err := connstream.Open(connstream.Options{RingBytes: 64 << 20, Handle: func(records []connstream.Record) {
		for i := range records {
			r := &records[i]
			w.total.Add(1)
			w.ports[r.Local.Port()].Add(1)
			w.ports[r.Remote.Port()].Add(1)
		}
	}})
	require.NoError(t, err)
	t.Cleanup(func() {
		s.Close()
		require.Zero(t, s.Stats().RingFull)
	})
	return w
}

// of is how many had this port at either end.
func (w *witness) of(port int) int64 { return w.ports[port].Load() }

func (w *witness) others(ports ...int) int64 {
	n := w.total.Load()
	for _, p := range ports {
		n -= w.of(p)
	}
	return n
}
