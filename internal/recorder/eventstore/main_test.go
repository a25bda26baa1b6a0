package eventstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		writeForEver(dir)
	}
	if dir := os.Getenv(stormEnv); dir != "" {
		storm(dir)
	}
	testkit.Main(m)
}

// start is the time of the first event of the tests.
var start = time.Date(2026, 3, 12, 3, 12, 0, 0, time.UTC)

// mix makes the events of the notes on the flight recorder, section 3: 70 %
// connections that were closed, 30 % executed programs, 200 containers of
// which few make most events, 50 events a second.
type mix struct {
	random *rand.Rand
	every  time.Duration
	made   int
}

func newMix() *mix { return &mix{random: rand.New(rand.NewPCG(1, 2)), every: mixEvery} }

const mixEvery = 20 * time.Millisecond

// now is the time of the next event.
func (m *mix) now() time.Time { return start.Add(time.Duration(m.made) * m.every) }

func mixContainer(n int) string { return fmt.Sprintf("%064x", n*7919) }

// batch makes one batch of n events.
func (m *mix) batch(n int) plog.Logs {
	logs := plog.NewLogs()
	of := map[int]plog.LogRecordSlice{}
	for range n {
		container := int(m.random.ExpFloat64()*20) % 200
		if _, ok := of[container]; !ok {
			resource := logs.ResourceLogs().AppendEmpty()
			a := resource.Resource().Attributes()
			a.PutStr("container.id", mixContainer(container))
			a.PutStr("container.name", fmt.Sprintf("app-%d", container))
			a.PutStr("container.image.name", fmt.Sprintf("registry/app%d", container%40))
			a.PutStr("docker.compose.project", "shop")
			of[container] = resource.ScopeLogs().AppendEmpty().LogRecords()
		}
		m.fill(of[container].AppendEmpty())
	}
	return logs
}

func (m *mix) fill(r plog.LogRecord) {
	jitter := time.Duration(m.random.Int64N(int64(m.every)))
	r.SetTimestamp(pcommon.NewTimestampFromTime(m.now().Add(jitter)))
	m.made++
	port := 32768 + m.random.IntN(28000)
	server := []int64{5432, 6379, 443, 80, 8080}[m.random.IntN(5)]
	peer := m.random.IntN(40)
	a := r.Attributes()
	if m.random.IntN(100) < 70 {
		r.SetEventName("network.connection.closed")
		a.PutStr("source.address", fmt.Sprintf("172.18.0.%d", m.random.IntN(250)))
		a.PutInt("source.port", int64(port))
		a.PutStr("destination.address", fmt.Sprintf("172.18.0.%d", peer))
		a.PutInt("destination.port", server)
		a.PutInt("bytes.sent", int64(m.random.ExpFloat64()*4000))
		a.PutInt("bytes.recv", int64(m.random.ExpFloat64()*20000))
		a.PutStr("peer.container", fmt.Sprintf("app-%d", peer))
		a.PutInt("process.pid", int64(port/10))
		return
	}
	r.SetEventName("process.exec")
	a.PutInt("process.pid", int64(port))
	a.PutInt("process.parent_pid", int64(m.random.IntN(250)))
	a.PutStr("process.command_line", fmt.Sprintf("/usr/bin/curl -fsS http://localhost:%d/healthz?n=%d", server, m.random.IntN(4000)))
	a.PutInt("process.exit.code", int64(peer%3))
}

// one makes a batch of a single event.
func one(at time.Time, name, container, body string) plog.Logs {
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	if container != "" {
		resource.Resource().Attributes().PutStr("container.id", container)
	}
	r := resource.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	if !at.IsZero() {
		r.SetTimestamp(pcommon.NewTimestampFromTime(at))
	}
	r.SetEventName(name)
	r.Body().SetStr(body)
	return logs
}

// quiet are options under which nothing is written by time.
func quiet(dir string) Options {
	return Options{Dir: dir, FrameEvery: time.Hour, Now: func() time.Time { return start }}
}

func open(t testing.TB, o Options) (*Store, Recovery) {
	t.Helper()
	s, found, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // tests that care close it themselves
	return s, found
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustFlush(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
}

type scanner interface {
	Scan(ctx context.Context, q Query, each func(Event) bool) error
}

func scanAll(t testing.TB, s scanner, q Query) []Event {
	t.Helper()
	var all []Event
	if err := s.Scan(t.Context(), q, func(e Event) bool { all = append(all, e); return true }); err != nil {
		t.Fatal(err)
	}
	return all
}

// bodies lists the bodies of events.
func bodies(events []Event) []string {
	var all []string
	for _, e := range events {
		all = append(all, e.Body)
	}
	return all
}

func eventually(t testing.TB, condition func() error) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, condition)
}
