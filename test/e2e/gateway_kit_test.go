package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// fullEnv names the gateway's binary to test; without it scripts/build.sh makes it.
const fullEnv = "TALLYMAN_FULL_BINARY"

// flowKey and numberKey are attributes of records that are counted.
const flowKey, numberKey = "e2e.flow", "e2e.number"

var errLost = errors.New("accepted, and not arrived")

// buildFull returns the gateway's binary.
func buildFull(t *testing.T) string {
	t.Helper()
	if path := os.Getenv(fullEnv); path != "" {
		require.NoError(t, checkBinary(path))
		return path
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(root, "scripts", "build.sh"), "--full").CombinedOutput()
	require.NoError(t, err, "%s", out)
	path, err := filepath.Abs(filepath.Join(root, "bin", "tallyman-full"))
	require.NoError(t, err)
	return path
}

// keptAddress is one that nobody else takes while its owner is dead: of the loopback
// network all addresses are this host's, and nobody is given one at random but here.
func keptAddress() string {
	return fmt.Sprintf("127.%d.%d.%d:4317", 64+rand.IntN(64), rand.IntN(256), 1+rand.IntN(254))
}

// backend is an OTLP endpoint that may be slow or dead, with gRPC's own limit of
// 4 MiB for a request. What it takes is in its sink, also when nobody waits for the
// answer any more.
type backend struct {
	t       *testing.T
	sink    *testkit.Sink
	conn    *grpc.ClientConn // to the sink
	address string
	delay   atomic.Int64 // before each answer, a time.Duration

	server *grpc.Server // nil while it is dead
	served chan error
}

func newBackend(t *testing.T) *backend {
	t.Helper()
	b := &backend{t: t, sink: testkit.NewSink(t), address: keptAddress()}
	var err error
	b.conn, err = grpc.NewClient(b.sink.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() {
		b.die()
		require.NoError(t, b.conn.Close())
	})
	b.live()
	return b
}

// live begins to listen, always on the same port.
func (b *backend) live() {
	b.t.Helper()
	var listener net.Listener
	testkit.Eventually(b.t, soon, func() (err error) {
		listener, err = net.Listen("tcp", b.address)
		return err
	})
	b.server, b.served = grpc.NewServer(grpc.WaitForHandlers(true)), make(chan error, 1)
	plogotlp.RegisterGRPCServer(b.server, &backendLogs{backend: b})
	pmetricotlp.RegisterGRPCServer(b.server, &backendMetrics{backend: b})
	go func(server *grpc.Server, served chan error) { served <- server.Serve(listener) }(b.server, b.served)
}

// die ends all connections and stops to listen.
func (b *backend) die() {
	if b.server == nil {
		return
	}
	b.server.Stop()
	<-b.served
	b.server = nil
}

// wait returns after the delay, whatever the client does.
func (b *backend) wait() {
	if delay := time.Duration(b.delay.Load()); delay > 0 {
		<-time.NewTimer(delay).C
	}
}

type backendLogs struct {
	plogotlp.UnimplementedGRPCServer
	*backend
}

func (b *backendLogs) Export(ctx context.Context, r plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	b.wait()
	return plogotlp.NewGRPCClient(b.conn).Export(context.WithoutCancel(ctx), r)
}

type backendMetrics struct {
	pmetricotlp.UnimplementedGRPCServer
	*backend
}

func (b *backendMetrics) Export(ctx context.Context, r pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	b.wait()
	return pmetricotlp.NewGRPCClient(b.conn).Export(context.WithoutCancel(ctx), r)
}

// gateway is bin/tallyman-full with one state and one address over several starts.
type gateway struct {
	*agent
	t        *testing.T
	settings settings
	address  string // OTLP by gRPC
}

// newGateway does not start it. The configurations are put over deploy/gateway.yaml.
func newGateway(t *testing.T, full, to string, overlays ...string) *gateway {
	t.Helper()
	g := &gateway{t: t, address: keptAddress()}
	g.settings = settings{
		configs: append([]string{"deploy/gateway.yaml"}, overlays...),
		// The agent's binary makes way for the gateway's.
		wrap:  []string{"sh", "-c", `shift; exec "$0" "$@"`, full},
		env:   []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + to, "OTEL_EXPORTER_OTLP_INSECURE=true"},
		state: t.TempDir(),
		set: []string{
			"receivers::otlp::protocols::grpc::endpoint: " + g.address,
			"exporters::otlp_grpc::retry_on_failure::max_interval: 2s",
		},
	}
	return g
}

func (g *gateway) start() {
	g.t.Helper()
	g.agent = startAgent(g.t, g.settings)
}

// holds returns nil once so many bytes of a signal wait in the queue, those under way
// included.
func (g *gateway) holds(signal string, size float64) error {
	body, err := get(g.own)
	if err != nil {
		return err
	}
	now, err := parsePage(body)
	if err != nil {
		return err
	}
	if n := now[""].sum(fmt.Sprintf("otelcol_exporter_queue_size %q", signal)); n < size {
		return fmt.Errorf("%v of %v bytes of %s: %w", n, size, signal, errFew)
	}
	return nil
}

// sendingTo are the settings of an agent with the overlay deploy/otlp.yaml, which
// sends every second what it usually does every ten.
func sendingTo(t *testing.T, address string, set ...string) settings {
	t.Helper()
	nothing := t.TempDir()
	return settings{
		configs: []string{"otelcol-config.yaml", "deploy/otlp.yaml"},
		env: []string{
			"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + address, "OTEL_EXPORTER_OTLP_INSECURE=true",
			"TALLYMAN_DOCKER_ROOT=" + nothing, "TALLYMAN_PODS_ROOT=" + nothing,
		},
		state: t.TempDir(),
		set: append([]string{
			"exporters::otlp_grpc::retry_on_failure::max_interval: 2s",
			"receivers::uds_statsd::aggregation_interval: 1s",
			"processors::interval::interval: 1s",
		}, set...),
	}
}

// flow is a stream of numbered log records that an application sends to an agent.
// A request that got no answer may or may not arrive; it is not sent again.
type flow struct {
	name string

	mu       sync.Mutex // guards what follows
	next     int
	accepted map[int]bool
	starts   []numbersAt
	refusals int
	refusal  error // the last one
}

// numbersAt is the first number that was sent at a time.
type numbersAt struct {
	at     time.Time
	number int
}

func newFlow(name string) *flow { return &flow{name: name, accepted: map[int]bool{}} }

// send sends one request.
func (f *flow) send(s *sender, records, size int) error {
	f.mu.Lock()
	from := f.next
	f.next += records
	f.starts = append(f.starts, numbersAt{time.Now(), from})
	f.mu.Unlock()
	ld := plog.NewLogs()
	resource := ld.ResourceLogs().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", "e2e")
	to := resource.ScopeLogs().AppendEmpty().LogRecords()
	for n := from; n < from+records; n++ {
		record := to.AppendEmpty()
		record.Attributes().PutStr(flowKey, f.name)
		record.Attributes().PutInt(numberKey, int64(n))
		record.Body().SetStr(strings.Repeat("x", size))
	}
	err := s.logs(ld)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.refusals++
		f.refusal = err
		return err
	}
	for n := from; n < from+records; n++ {
		f.accepted[n] = true
	}
	return nil
}

// run sends ten small records every 20 ms until stop is called, or the agent has ended.
// A request that gets no answer in time, on a busy machine, is not the last one.
func (f *flow) run(t *testing.T, a *agent) (stop func()) {
	t.Helper()
	s := newSender(t, a)
	done := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-a.ended: // killed, which is the test; its port may be somebody else's soon
				return
			case <-ticker.C:
			}
			_ = f.send(s, 10, 100) // it is counted
		}
	})
	return func() {
		close(done)
		sending.Wait()
	}
}

// count is how many records are accepted by now.
func (f *flow) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.accepted)
}

// taken are the numbers of the records that are accepted by now.
func (f *flow) taken() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.accepted))
}

// more returns a condition: so many more records are accepted than when it was made.
func (f *flow) more(n int) func() error {
	want := f.count() + n
	return func() error {
		got := f.count()
		if got >= want {
			return nil
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		return fmt.Errorf("%d of %d records accepted, %d requests refused (the last: %v): %w", got, want, f.refusals, f.refusal, errFew)
	}
}

// between are the numbers that were sent in a time.
func (f *flow) between(from, to time.Time) func(int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	first, last := f.next, -1
	for i, s := range f.starts {
		end := f.next
		if i+1 < len(f.starts) {
			end = f.starts[i+1].number
		}
		if !s.at.Before(from) && !s.at.After(to) {
			first, last = min(first, s.number), max(last, end-1)
		}
	}
	return func(n int) bool { return n >= first && n <= last }
}

// tally counts what has arrived of a flow.
type tally struct {
	flow  *flow
	sink  *testkit.Sink
	taken int
	times map[int]int
}

func newTally(f *flow, sink *testkit.Sink) *tally {
	return &tally{flow: f, sink: sink, times: map[int]int{}}
}

func (y *tally) take() {
	all := y.sink.Logs()
	for _, batch := range all[y.taken:] {
		for _, record := range recordsOf(batch) {
			if record.attributes[flowKey] == y.flow.name {
				n, _ := record.attributes[numberKey].(int64)
				y.times[int(n)]++
			}
		}
	}
	y.taken = len(all)
}

// complete returns nil once all that was accepted has arrived. It is for a flow that has
// stopped: of one that goes on a part is always under way.
func (y *tally) complete() error { return y.hasAll(y.flow.taken()) }

// caughtUp returns a condition: all that is accepted when it is made has arrived.
func (y *tally) caughtUp() func() error {
	numbers := y.flow.taken()
	return func() error { return y.hasAll(numbers) }
}

// hasAll returns nil once all the numbers have arrived.
func (y *tally) hasAll(numbers []int) error {
	y.take()
	lost := 0
	for _, n := range numbers {
		if y.times[n] == 0 {
			lost++
		}
	}
	if lost > 0 {
		return fmt.Errorf("%d of %d records: %w", lost, len(numbers), errLost)
	}
	return nil
}

// doubled are the numbers that came more than once.
func (y *tally) doubled() []int {
	var found []int
	for _, n := range slices.Sorted(maps.Keys(y.times)) {
		if y.times[n] > 1 {
			found = append(found, n)
		}
	}
	return found
}

// onlyTwice requires that what came more than once was under way at a kill. Two more
// records go all the way, one after the other, so that what is sent again has come, too.
func (y *tally) onlyTwice(t *testing.T, a *agent, underWay ...func(int) bool) {
	t.Helper()
	s := newSender(t, a)
	for range 2 {
		require.NoError(t, y.flow.send(s, 1, 100))
		testkit.Eventually(t, 2*soon, y.complete)
	}
	doubled := y.doubled()
	t.Logf("%d records accepted, %d came twice", y.flow.count(), len(doubled))
	outside := slices.DeleteFunc(doubled, func(n int) bool {
		return slices.ContainsFunc(underWay, func(fits func(int) bool) bool { return fits(n) })
	})
	require.Empty(t, outside, "of %d", y.flow.next)
}
