package udsstatsdreceiver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/metadata"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/origin"
)

// total adds up the newest sums of a counter, by their resources' origin.
func (r *rig) total(name string) (total float64, origins map[string]bool) {
	origins = map[string]bool{}
	for _, md := range r.metrics.AllMetrics() {
		for _, rm := range md.ResourceMetrics().All() {
			kind, _ := rm.Resource().Attributes().Get("statsd.origin")
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				if m.Name() == name {
					total = m.Sum().DataPoints().At(0).DoubleValue()
					origins[kind.Str()] = true
				}
			}
		}
	}
	return total, origins
}

// One sender alone, for longer than idle accounts are remembered.
func TestOneSenderForLong(t *testing.T) {
	r := start(t, func(c *Config) { c.AggregationInterval = time.Hour; c.Expiry = time.Hour })
	const rounds = 20 // an account is forgotten after four
	for i := range rounds {
		r.send("steady:1|c")
		testkit.Eventually(t, patience, func() error {
			if got := r.counted("otelcol_uds_statsd_messages")[""]; got != int64(i+1) {
				return fmt.Errorf("%d of %d", got, i+1)
			}
			return nil
		})
		r.receiver.flush(false)
	}
	total, origins := r.total("steady")
	require.InDelta(t, rounds, total, 0)
	require.Equal(t, map[string]bool{"kernel": true}, origins)
}

// After a restart with the socket kept, whoever lives is known again as soon as the
// queue has been empty.
func TestSendersAfterRestore(t *testing.T) {
	r := start(t, nil)
	in := &intake{s: r.server}
	var err error
	in.senders, err = r.server.resolver.Senders(0)
	require.NoError(t, err)
	defer func() { require.NoError(t, in.senders.Close()) }()
	in.Ask()
	in.Drained()
	cmd := testkit.Run(t, testkit.Cgroup(t, "restored"), "sleep", "600")
	sender := origin.Sender{PID: cmd.Process.Pid, PIDFD: -1}
	testkit.Eventually(t, patience, func() error {
		in.Ask()
		in.Drained()
		in.senders.Begin()
		if o := in.senders.Resolve(sender); o.Kind != origin.KindHost {
			return fmt.Errorf("%v, because of %s", o.Kind, o.Reason)
		}
		return nil
	})
}

// With only a logs pipeline nothing is added up, and nobody is remembered for ever.
func TestLogsOnly(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.Endpoint = filepath.Join(t.TempDir(), "dsd.socket")
	logs := &consumertest.LogsSink{}
	s := newShared(inherited)
	l, err := newFactory(s).CreateLogs(t.Context(), receivertest.NewNopSettings(metadata.Type), cfg, logs)
	require.NoError(t, err)
	require.NoError(t, l.Start(t.Context(), componenttest.NewNopHost()))
	r := &rig{t: t, cfg: cfg, logs: logs}
	r.send("a:1|c\n_e{1,1}:t|x")
	testkit.Eventually(t, patience, func() error {
		if logs.LogRecordCount() != 1 {
			return errors.New("no record yet")
		}
		return nil
	})
	server := s.servers[cfg].server
	require.Zero(t, server.table.Len())
	for range 2*int(cfg.Expiry/cfg.AggregationInterval) + 4 {
		server.flush(false, func(*origin.Origin, []aggregate.Point) { t.Error("nobody asked") })
	}
	server.table.Lock()
	require.Empty(t, server.book.accounts)
	server.table.Unlock()
	require.NoError(t, l.Shutdown(context.Background()))
}

// Whichever receiver ends first: what was sent before is handed on.
func TestEitherEndsFirst(t *testing.T) {
	f := func(logsFirst bool) {
		t.Helper()
		r := start(t, func(c *Config) { c.AggregationInterval = time.Hour; c.Expiry = time.Hour })
		const sent = 300
		var all []string
		for i := range sent {
			all = append(all, fmt.Sprintf("_e{1,3}:t|%03d", i), "n:1|c")
		}
		r.send(all...)
		if logsFirst {
			require.NoError(t, r.logsReceiver.Shutdown(context.Background()))
			require.NoError(t, r.receiver.Shutdown(context.Background()))
		} else {
			require.NoError(t, r.receiver.Shutdown(context.Background()))
			require.NoError(t, r.logsReceiver.Shutdown(context.Background()))
		}
		require.Equal(t, sent, r.logs.LogRecordCount(), "logs first: %v", logsFirst)
		total, _ := r.total("n")
		require.InDelta(t, sent, total, 0)
	}
	f(true)
	f(false)
}

// What the next component refuses comes with the next flush, unless it is refused
// for good or there is too much of it.
func TestRefused(t *testing.T) {
	var refuse atomic.Pointer[error]
	store := func(err error) { refuse.Store(&err) }
	store(errors.New("memory"))
	sink := &consumertest.MetricsSink{}
	next, err := consumer.NewMetrics(func(ctx context.Context, md pmetric.Metrics) error {
		if err := *refuse.Load(); err != nil {
			return err
		}
		return sink.ConsumeMetrics(ctx, md)
	})
	require.NoError(t, err)
	r := start(t, func(c *Config) { c.AggregationInterval = time.Hour; c.Expiry = time.Hour })
	r.receiver.next, r.metrics = next, sink
	send := func(line string, n int64) {
		t.Helper()
		r.send(line)
		testkit.Eventually(t, patience, func() error {
			if got := r.counted("otelcol_uds_statsd_messages")[""]; got != n {
				return fmt.Errorf("%d of %d", got, n)
			}
			return nil
		})
	}
	send("once:12345|c", 1)
	r.receiver.flush(false)
	require.Zero(t, sink.DataPointCount())
	store(nil)
	r.receiver.flush(false)
	total, _ := r.total("once")
	require.InDelta(t, 12345, total, 0)
	require.Equal(t, 1, sink.DataPointCount())

	store(consumererror.NewPermanent(errors.New("never")))
	send("lost:1|c", 2)
	r.receiver.flush(false)
	require.Equal(t, map[string]int64{"refused": 1}, r.counted("otelcol_uds_statsd_dropped"))
	require.Zero(t, r.receiver.points)
	store(nil)
}

// A check's name is one tag, whatever is in it.
func TestCheckName(t *testing.T) {
	r := start(t, nil)
	r.send("_sc|db,up|1|#dogstatsd.check.name:z,a:b")
	m, _ := r.await("dogstatsd.service_check")
	require.Equal(t, map[string]any{"dogstatsd.check.name": "db_up", "a": "b"}, m.Gauge().DataPoints().At(0).Attributes().AsRaw())
}

// Events of one sender leave room for those of others.
func TestRecordsAreShared(t *testing.T) {
	r := newRecords(time.Now)
	r.on = true
	loud, quiet := &account{origin: &origin.Origin{Kind: origin.KindKernel}}, &account{origin: &origin.Origin{Kind: origin.KindHost}}
	for range maxRecords {
		if r.hasRoom(loud) {
			r.add(record{origin: loud.origin})
		}
	}
	require.True(t, r.hasRoom(quiet))
	require.EqualValues(t, maxRecords-maxOriginRecords, loud.dropped["record_queue"])
	taken, isLeft := r.take(func(o *origin.Origin) (*origin.Origin, bool) { return o, true })
	require.Len(t, taken, maxOriginRecords)
	require.False(t, isLeft)
	require.True(t, r.hasRoom(loud))
}

// Lines are counted as clients write them, with and without one at the end.
func TestLines(t *testing.T) {
	for text, want := range map[string]int{"": 0, "a:1|c": 1, "a:1|c\n": 1, "a:1|c\nb:1|c": 2, "a:1|c\nb:1|c\n": 2} {
		require.Equal(t, want, lines([]byte(text)), "%q", text)
	}
}

// Who makes up containers has what one sender may have.
func TestClaimsAreBounded(t *testing.T) {
	r := start(t, func(c *Config) { c.ClientOrigin = clientFirst })
	c, err := net.Dial("unixgram", r.cfg.Endpoint)
	require.NoError(t, err)
	defer c.Close()
	const sent = 3 * maxClaimed
	for i := range sent {
		_, err := fmt.Fprintf(c, "x:1|c|c:ci-%d", i)
		require.NoError(t, err)
	}
	testkit.Eventually(t, patience, func() error {
		if got := r.counted("otelcol_uds_statsd_messages")[""]; got != sent {
			return fmt.Errorf("%d of %d", got, sent)
		}
		return nil
	})
	r.server.table.Lock()
	defer r.server.table.Unlock()
	require.Len(t, r.server.book.accounts, maxClaimed+1)
	require.Equal(t, maxShown, r.server.book.shown)
}
