package e2e_test

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// loadSeries is what the test sends each second, beside what containers give.
	loadSeries = 12_000
	// before and after are how many seconds of it are recorded before the agent is
	// killed, and after it is back.
	before, after = 40, 5
	// lastSeconds is how much the kill may cost: what waits in the pipeline and what
	// the log has not been given yet.
	lastSeconds = 3
	// reopenWithin is what is promised for loadSeries.
	reopenWithin = 5 * time.Second
)

// A kill in the middle of writing costs the last seconds, is told of, and nothing that
// was there is there twice.
func TestRecorderKilled(t *testing.T) {
	engine := testkit.Docker(t)
	s := settings{state: t.TempDir(), env: []string{"TALLYMAN_DOCKER_HOST=" + engine.Host()}}
	a := startRecorder(t, s)
	lives := engine.RunContainer(t, testkit.ContainerSpec{Name: "lives", Cmd: shell("while :; do sleep 1; done")})
	ends := engine.RunContainer(t, testkit.ContainerSpec{Name: "ends", Cmd: shell("sleep 5; exit 7")})
	sent := startLoad(t, a.agent)
	testkit.Eventually(t, 2*soon, func() error { return a.hasLoad(before) })
	_, err := a.only(ends.ID, "container.stop")
	require.NoError(t, err)
	first := sent.began
	events := keysOf(t, a)

	a.kill()
	killed := time.Now()
	// What came in the last seconds is what a kill may cost.
	maps.DeleteFunc(events, func(k eventKey, _ bool) bool { return k.t >= seconds(killed)-lastSeconds })
	require.NotEmpty(t, events)
	sent.stop()
	began := time.Now()
	a = startRecorder(t, s)
	took := time.Since(began)
	stats, err := a.stats()
	require.NoError(t, err)
	t.Logf("serves after %v, reopened in %.2f s: %s", took.Round(time.Millisecond), stats.Recovery.Took, stats.Recovery.Lost)
	require.Less(t, stats.Recovery.Took, reopenWithin.Seconds())
	require.Less(t, took, reopenWithin+5*time.Second, "the whole agent")
	a.saysWhatIsLost(t, stats)

	last := killed.Unix() - lastSeconds
	a.hasEach(t, span{first, last})
	a.stillKnows(t, lives, ends, events)
	sent = startLoad(t, a.agent)
	back := time.Now().Unix()
	testkit.Eventually(t, soon, func() error { return a.recordsSince(lives.ID, back+after) })
	sent.stop()
	a.hasEach(t, span{first, last}) // also beside what is new
	a.goesOn(t, lives, killed)
	_, code := a.stop()
	require.Zero(t, code)
}

// burden sends loadSeries gauges each second, whose value is the time in
// seconds, until it is stopped or the agent is gone.
type burden struct {
	began int64 // the first second, Unix
	stop  func()
}

func startLoad(t *testing.T, a *agent) *burden {
	t.Helper()
	s := newSender(t, a)
	done := make(chan struct{})
	var sending sync.WaitGroup
	var once sync.Once
	l := &burden{began: time.Now().Unix() + 1, stop: func() {
		once.Do(func() { close(done) })
		sending.Wait()
	}}
	sending.Go(func() {
		for second := l.began; ; second++ {
			timer := time.NewTimer(time.Until(time.Unix(second, 0)))
			select {
			case <-timer.C:
			case <-done:
				timer.Stop()
				return
			}
			if s.metrics(loadAt(second)) != nil {
				return // the agent was killed, which is the test
			}
		}
	})
	t.Cleanup(l.stop)
	return l
}

// loadAt is one second of it, as of twenty services.
func loadAt(second int64) pmetric.Metrics {
	const services = 20
	md := pmetric.NewMetrics()
	for service := range services {
		resource := md.ResourceMetrics().AppendEmpty()
		resource.Resource().Attributes().PutStr("service.name", fmt.Sprintf("load-%d", service))
		metric := resource.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		metric.SetName("e2e.load")
		points := metric.SetEmptyGauge().DataPoints()
		for n := range loadSeries / services {
			p := points.AppendEmpty()
			p.SetTimestamp(pcommon.NewTimestampFromTime(time.Unix(second, 0)))
			p.SetDoubleValue(float64(second))
			p.Attributes().PutInt("n", int64(n))
		}
	}
	return md
}

// hasLoad returns nil once one series has so many samples of this life's.
func (a *recorderAgent) hasLoad(seconds float64) error {
	n, err := a.value(fmt.Sprintf("max(count_over_time(e2e_load[%ds]))", int(seconds)+1))
	if err == nil && n < seconds {
		err = fmt.Errorf("%v samples of the load: %w", n, errNotYet)
	}
	return err
}

// hasEach proves that each series has exactly one sample in each second.
func (a *recorderAgent) hasEach(t *testing.T, s span) {
	t.Helper()
	found, err := a.matrix("count(e2e_load == time())", s)
	require.NoError(t, err)
	require.Len(t, found, 1)
	var short []string
	for second := s.from; second <= s.to; second++ {
		if found[0][second] != loadSeries {
			short = append(short, fmt.Sprintf("%d: %v", second-s.from, found[0][second]))
		}
	}
	require.Empty(t, short, "seconds with less than %d samples, of %d", loadSeries, s.to-s.from+1)
	twice, err := a.matrix(fmt.Sprintf("max(count_over_time(e2e_load[%ds]))", s.to-s.from+1), span{s.to, s.to})
	require.NoError(t, err)
	require.Equal(t, float64(s.to-s.from+1), twice[0][s.to], "samples of one series")
}

func (a *recorderAgent) saysWhatIsLost(t *testing.T, stats recorderStats) {
	t.Helper()
	require.NotEmpty(t, stats.Recovery.Lost)
	require.Contains(t, stats.Recovery.Lost, "complete until")
	told := ""
	for line := range strings.Lines(a.log()) {
		if strings.Contains(line, "the last run left something to mend") {
			told += line
		}
	}
	for part := range strings.SplitSeq(stats.Recovery.Lost, "; ") { // of metrics, of events
		require.Contains(t, told, part, "the log says it, too")
	}
	testkit.Eventually(t, soon, func() error { // it is looked at once a second
		status, err := a.status()
		if err == nil && status.Oldest == 0 {
			err = fmt.Errorf("oldest metric: %w", errNotYet)
		}
		return err
	})
}

// eventKey is what makes an event the same one.
type eventKey struct {
	t               float64
	name, container string
}

// keysOf are all events that are recorded, each once.
func keysOf(t *testing.T, a *recorderAgent) map[eventKey]bool {
	t.Helper()
	events, err := a.recorded("")
	require.NoError(t, err)
	require.NotEmpty(t, events)
	keys := map[eventKey]bool{}
	for _, e := range events {
		keys[eventKey{e.T, e.Name, e.Container}] = true
	}
	return keys
}

// stillKnows proves that containers and events have survived, and are there once.
func (a *recorderAgent) stillKnows(t *testing.T, lives, ends *testkit.Container, events map[eventKey]bool) {
	t.Helper()
	now := keysOf(t, a)
	var lost []eventKey
	for key := range events {
		if !now[key] {
			lost = append(lost, key)
		}
	}
	require.Empty(t, lost)
	for _, name := range []string{"container.start", "container.stop"} {
		_, err := a.only(ends.ID, name)
		require.NoError(t, err)
	}
	_, err := a.only(lives.ID, "container.start")
	require.NoError(t, err)
	var all struct{ Entities []recordedContainer }
	require.NoError(t, a.ask("/api/entities", query{"limit": "5000"}, &all))
	times := map[string]int{}
	for _, e := range all.Entities {
		times[e.ID]++
	}
	require.Equal(t, 1, times[lives.ID])
	require.Equal(t, 1, times[ends.ID])
	testkit.Eventually(t, soon, func() error {
		known, err := a.container(lives.ID)
		if err == nil && (known.State != "running" || known.Name != lives.Name) {
			err = fmt.Errorf("%s is %s: %w", known.Name, known.State, errNotYet)
		}
		return err
	})
	gone, err := a.container(ends.ID)
	require.NoError(t, err)
	require.Equal(t, "ended", gone.State)
	require.Equal(t, ends.Name, gone.Name)
	require.NotNil(t, gone.ExitCode)
	require.Equal(t, 7, *gone.ExitCode)
}

// goesOn proves that a container has samples of both lives, in one series.
func (a *recorderAgent) goesOn(t *testing.T, c *testkit.Container, killed time.Time) {
	t.Helper()
	now := time.Now().Unix()
	found, err := a.matrix(fmt.Sprintf("timestamp(container_uptime_seconds{container_id=%q})", c.ID), span{killed.Unix() - before, now})
	require.NoError(t, err)
	require.Len(t, found, 1)
	var earlier, later int
	for _, at := range found[0] {
		if at < seconds(killed) {
			earlier++
		} else {
			later++
		}
	}
	require.Positive(t, earlier)
	require.Positive(t, later)
}
