package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// promConfig is what docs/gateway.md says Prometheus needs.
const promConfig = `storage:
  tsdb:
    out_of_order_time_window: 1h
`

// lookback is for how long Prometheus shows a series that has ended.
const lookback = 5 * time.Minute

var errQuery = errors.New("not what was asked for")

// prometheus is Debian's, with one data folder and one address over several starts.
type prometheus struct {
	t       *testing.T
	dir     string
	address string
	cmd     *exec.Cmd
	ended   chan struct{}
}

func newPrometheus(t *testing.T) *prometheus {
	t.Helper()
	testkit.NeedCommand(t, "prometheus")
	p := &prometheus{t: t, dir: t.TempDir(), address: keptAddress()}
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "prometheus.yml"), []byte(promConfig), 0o600))
	t.Cleanup(p.kill)
	return p
}

func (p *prometheus) start() {
	p.t.Helper()
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(p.t, err)
	defer log.Close()
	p.cmd = exec.Command("prometheus", "--config.file="+filepath.Join(p.dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(p.dir, "data"), "--web.listen-address="+p.address,
		"--web.enable-remote-write-receiver")
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.ended = make(chan struct{})
	started := make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		runtime.LockOSThread() // see startProcess
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}(p.cmd, p.ended)
	require.NoError(p.t, <-started)
	testkit.Eventually(p.t, soon, func() error {
		_, err := get("http://" + p.address + "/-/ready")
		return err
	})
}

func (p *prometheus) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// promSeries is one series of an answer.
type promSeries struct {
	labels map[string]string
	value  float64
}

// query asks for the value of each series at a time.
func (p *prometheus) query(text string, at time.Time) ([]promSeries, error) {
	body, err := get("http://" + p.address + "/api/v1/query?" + url.Values{
		"query": {text}, "time": {strconv.FormatInt(at.Unix(), 10)},
	}.Encode())
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("query %s: %w", text, err)
	}
	var found []promSeries
	for _, r := range answer.Data.Result {
		said, _ := r.Value[1].(string)
		value, err := strconv.ParseFloat(said, 64)
		if err != nil {
			return nil, fmt.Errorf("query %s: %w", text, err)
		}
		found = append(found, promSeries{r.Metric, value})
	}
	return found, nil
}

// sum is the sum over all series of an expression, which must have some.
func (p *prometheus) sum(text string, at time.Time) (float64, error) {
	found, err := p.query("sum("+text+")", at)
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%s: %d series: %w", text, len(found), errQuery)
	}
	if err != nil {
		return 0, err
	}
	return found[0].value, nil
}

// Metrics reach Debian's Prometheus by remote write, under the names and labels of the
// agent's own page. While Prometheus is dead, and the gateway is killed, they wait.
func gatewayRemoteWrite(t *testing.T, full string) {
	engine := testkit.Docker(t)
	p := newPrometheus(t)
	p.start()
	b := newBackend(t) // for what is no metric
	g := newGateway(t, full, b.address, "deploy/prometheus.yaml")
	around := keptAddress()
	g.settings.env = append(g.settings.env, "PROMETHEUS_REMOTE_WRITE=http://"+p.address+"/api/v1/write")
	g.settings.set = append(g.settings.set,
		"receivers::otlp/remote_write::protocols::http::endpoint: "+around,
		"exporters::otlp_http/remote_write::endpoint: http://"+around,
		"exporters::otlp_http/remote_write::retry_on_failure::max_interval: 2s",
	)
	g.start()
	s := sendingTo(t, g.address)
	s.env = append(s.env, "TALLYMAN_DOCKER_HOST="+engine.Host())
	a := startAgent(t, s)
	c := engine.RunContainer(t, testkit.ContainerSpec{Name: "busy", Cmd: shell("while :; do :; done"), NanoCPUs: 1e8})
	testkit.Eventually(t, soon, func() error { return p.hasCPU(a, c) })
	counter := countTo(t, a)
	sendDeltas(t, newSender(t, a), 3, 5)
	testkit.Eventually(t, soon, func() error { return p.hasTotal("e2e_gateway_delta_total", 3*5) })
	timed, err := net.Dial("unixgram", a.statsdSocket())
	require.NoError(t, err)
	defer timed.Close()
	// A histogram, which this Prometheus would refuse together with all beside it.
	_, err = timed.Write([]byte("e2e.gateway.took:12|ms"))
	require.NoError(t, err)

	p.kill()
	dead := time.Now()
	counter.add(500)
	// Several times as long as an exporter waits that is not told otherwise.
	testkit.Eventually(t, soon, older(a, c.ID, 30))
	require.NoError(t, g.holds("metrics", 1))
	g.kill()
	counter.add(500)
	g.start()
	until := time.Now().Add(time.Second)
	p.start()
	testkit.Eventually(t, 2*soon, func() error { return p.hasCounted(counter.sent) })
	// The time for which Prometheus was dead has its points.
	testkit.Eventually(t, soon, func() error { return p.hasEach(c.ID, dead, until) })

	require.NoError(t, c.Remove(t.Context()))
	gone := time.Now()
	for at, want := range map[time.Time]int{gone: 1, gone.Add(lookback + time.Minute): 0} {
		found, err := p.query(fmt.Sprintf("container_uptime_seconds{container_id=%q,container_name=%q}", c.ID, c.Name), at)
		require.NoError(t, err)
		require.Len(t, found, want)
	}
}

// hasCPU returns nil once Prometheus has a container's CPU time of each mode, as the
// agent's page has it, with the container's labels.
func (p *prometheus) hasCPU(a *agent, c *testkit.Container) error {
	const metric = "container_cpu_time_seconds_total"
	now, err := a.figures(c.ID)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	for _, mode := range []string{"user", "system"} {
		onPage := now.sum(fmt.Sprintf("%s cpu_mode=%q", metric, mode))
		found, failed := p.query(fmt.Sprintf("%s{container_id=%q,container_name=%q,cpu_mode=%q,host_name=%q,container_runtime_name=%q}",
			metric, c.ID, c.Name, mode, host, "docker"), time.Now())
		err = errors.Join(err, failed)
		if len(found) != 1 || found[0].value <= 0 || onPage == 0 {
			err = errors.Join(err, fmt.Errorf("%s of %s: %v, %v on the agent's page: %w", metric, mode, found, onPage, errQuery))
		}
	}
	return err
}

// older returns a condition: a container is so many seconds older than when it was first
// asked for.
func older(a *agent, id string, seconds float64) func() error {
	first := 0.0
	return func() error {
		now, err := a.figures(id)
		if err != nil {
			return err
		}
		age := now.sum("container_uptime_seconds") // also of a series from before it had a name
		if first == 0 {
			first = age
		}
		if age < first+seconds {
			return fmt.Errorf("%v s older: %w", age-first, errFew)
		}
		return nil
	}
}

// hasCounted returns nil once the counter's total is what was sent.
func (p *prometheus) hasCounted(want int) error { return p.hasTotal("e2e_gateway_sent_total", want) }

func (p *prometheus) hasTotal(metric string, want int) error {
	n, err := p.sum(metric, time.Now())
	if err == nil && int(n) != want {
		err = fmt.Errorf("%s: %v of %d: %w", metric, n, want, errQuery)
	}
	return err
}

// sendDeltas sends a sum in several requests, each with what is new since the one before.
func sendDeltas(t *testing.T, s *sender, requests, value int) {
	t.Helper()
	at := time.Now().Add(-time.Duration(requests) * time.Second)
	for range requests {
		md := pmetric.NewMetrics()
		resource := md.ResourceMetrics().AppendEmpty()
		resource.Resource().Attributes().PutStr("service.name", "e2e")
		metric := resource.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		metric.SetName("e2e.gateway.delta")
		sum := metric.SetEmptySum()
		sum.SetIsMonotonic(true)
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		point := sum.DataPoints().AppendEmpty()
		point.SetStartTimestamp(pcommon.NewTimestampFromTime(at))
		at = at.Add(time.Second)
		point.SetTimestamp(pcommon.NewTimestampFromTime(at))
		point.SetIntValue(int64(value))
		require.NoError(t, s.metrics(md))
	}
}

// mostPause is the longest time between two points of a container: the agent makes one in
// 5 s while nothing changes, and is late on a machine that is busy.
const mostPause = 12 * time.Second

// hasEach returns nil once a container has points all over a time.
func (p *prometheus) hasEach(id string, from, to time.Time) error {
	for at := from.Add(mostPause); at.Before(to); at = at.Add(time.Second) {
		n, err := p.sum(fmt.Sprintf("count_over_time(container_uptime_seconds{container_id=%q}[%ds])", id, int(mostPause.Seconds())), at)
		if err != nil {
			return fmt.Errorf("%v after the kill: %w", at.Sub(from), err)
		}
		if n < 1 {
			return fmt.Errorf("%v after the kill: %w", at.Sub(from), errQuery)
		}
	}
	return nil
}
