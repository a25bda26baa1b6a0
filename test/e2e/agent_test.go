package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// soon is for what takes a second or two on an idle machine.
	soon = 60 * time.Second
	// logTail is how much of an agent's log goes into a failure.
	logTail = 6 << 10
)

var (
	errEnded  = errors.New("the agent ended")
	errStatus = errors.New("unexpected status")
)

// settings are how one agent differs from `make run`.
type settings struct {
	configs []string            // below the repository; default otelcol-config.yaml alone
	set     []string            // "receivers::cgroup::reader: files", after the configs
	env     []string            // "NAME=value"
	state   string              // TALLYMAN_STATE; default a new directory
	wrap    []string            // a command in front of the agent's, which it must exec
	user    *syscall.Credential // nil is the test's own
	files   []*os.File          // the agent's descriptors from 3 on
	gates   string              // --feature-gates
}

// agent is a started agent. One goroutine waits for its process and closes
// ended; the end of the test kills the process and waits for that.
type agent struct {
	t       testing.TB
	cmd     *exec.Cmd
	logFile string
	state   string
	ended   chan struct{}

	metrics, health    string // URLs
	own                string // URL of the agent's own metrics
	recorder           string // URL of the flight recorder, without a path
	otlpGRPC, otlpHTTP string // host:port

	mu      sync.Mutex // guards the last page
	paged   page
	pagedAt time.Time
}

// startAgent returns when the agent's health check answers.
func startAgent(t testing.TB, s settings) *agent {
	t.Helper()
	a := launch(t, s)
	testkit.Eventually(t, soon, func() error {
		if err := a.alive(); err != nil {
			t.Fatal(err)
		}
		return a.healthy()
	})
	return a
}

// launch starts the agent's process and does not wait for anything.
func launch(t testing.TB, s settings) *agent {
	t.Helper()
	a := &agent{t: t, ended: make(chan struct{}), state: s.state}
	if a.state == "" {
		a.state = s.dir(t)
	}
	dir := s.dir(t) // not the state: some tests give a useless one
	a.logFile = filepath.Join(dir, "agent.log")
	log, err := os.Create(a.logFile)
	require.NoError(t, err)
	defer log.Close()
	argv := append(append([]string{}, s.wrap...), place(t, s, os.Getenv(binaryEnv)))
	argv = append(argv, a.flags(s)...)
	a.cmd = exec.Command(argv[0], argv[1:]...)
	a.cmd.Dir = dir
	a.cmd.Env = append(os.Environ(), "TALLYMAN_STATE="+a.state, "TALLYMAN_STATSD_DIR="+a.statsdDir(), "GOMEMLIMIT=320MiB")
	a.cmd.Env = append(a.cmd.Env, s.env...)
	a.cmd.Stdout, a.cmd.Stderr = log, log
	a.cmd.ExtraFiles = s.files
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.user, Pdeathsig: syscall.SIGKILL}
	require.NoError(t, startProcess(a))
	t.Cleanup(func() {
		a.kill()
		if t.Failed() {
			t.Logf("end of the agent's log:\n%s", tail(a.log()))
		}
	})
	return a
}

// statsdDir is where DogStatsD's socket is. The agent makes it.
func (a *agent) statsdDir() string { return filepath.Join(a.state, "dsd") }

// dir makes a directory that belongs to the agent's user. Those of the testing
// package are below one that only the test's own user may enter.
func (s settings) dir(t testing.TB) string {
	t.Helper()
	if s.user == nil {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("", "tallyman-e2e-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chown(dir, int(s.user.Uid), int(s.user.Gid)))
	return dir
}

// startProcess starts the agent from a goroutine that keeps its thread: the
// kernel sends the parent death signal when the thread ends, not the process.
func startProcess(a *agent) error {
	started := make(chan error, 1)
	go func() {
		defer close(a.ended)
		runtime.LockOSThread()
		err := a.cmd.Start()
		started <- err
		if err == nil {
			_ = a.cmd.Wait() // the process state says it all
		}
	}()
	return <-started
}

// flags gives the agent free ports, and the settings of the test.
func (a *agent) flags(s settings) []string {
	ports := freePorts(a.t, 6)
	a.metrics = "http://" + ports[0] + "/metrics"
	a.health = "http://" + ports[1] + "/"
	a.otlpGRPC, a.otlpHTTP = ports[2], ports[3]
	a.recorder, a.own = "http://"+ports[4], "http://"+ports[5]+"/metrics"
	host, port, _ := strings.Cut(ports[5], ":")
	configs := s.configs
	if len(configs) == 0 {
		configs = []string{"otelcol-config.yaml"}
	}
	var flags []string
	for _, name := range configs {
		flags = append(flags, "--config", place(a.t, s, filepath.Join(root, name)))
	}
	own := []string{
		"exporters::prometheus::endpoint: " + ports[0],
		"extensions::health_check::endpoint: " + ports[1],
		"receivers::otlp::protocols::grpc::endpoint: " + ports[2],
		"receivers::otlp::protocols::http::endpoint: " + ports[3],
		"extensions::flight_recorder::endpoint: " + ports[4],
		"service::telemetry::metrics::readers: [{pull: {exporter: {prometheus: {host: " + host + ", port: " + port + "}}}}]",
		"receivers::prometheus/agent::config::scrape_configs: " +
			"[{job_name: tallyman, scrape_interval: 10s, static_configs: [{targets: [" + fmt.Sprintf("%q", ports[5]) + "]}]}]",
	}
	for _, setting := range append(own, s.set...) {
		flags = append(flags, "--config", "yaml:"+setting)
	}
	if s.gates != "" {
		flags = append(flags, "--feature-gates", s.gates)
	}
	return flags
}

// place returns where the agent finds a file: a plain user may not be able to
// reach the repository.
func place(t testing.TB, s settings, file string) string {
	t.Helper()
	if s.user == nil {
		path, err := filepath.Abs(file)
		require.NoError(t, err)
		return path
	}
	info, err := os.Stat(file)
	require.NoError(t, err)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	path := filepath.Join(s.dir(t), filepath.Base(file))
	require.NoError(t, os.WriteFile(path, text, info.Mode().Perm()|0o444))
	return path
}

// freePorts returns addresses on which nobody listens.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	addresses := make([]string, n)
	for i := range addresses {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer listener.Close() // after the last one is chosen
		addresses[i] = listener.Addr().String()
	}
	return addresses
}

// alive returns an error with the agent's log when it has ended.
func (a *agent) alive() error {
	select {
	case <-a.ended:
		return fmt.Errorf("%w: %v\n%s", errEnded, a.cmd.ProcessState, tail(a.log()))
	default:
		return nil
	}
}

func (a *agent) healthy() error {
	_, err := get(a.health)
	return err
}

// wait returns the log and exit code of an agent that ends by itself.
func (a *agent) wait(within time.Duration) (log string, code int) {
	a.t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-a.ended:
		return a.log(), a.cmd.ProcessState.ExitCode()
	case <-timer.C:
		a.t.Fatalf("the agent still runs after %v:\n%s", within, tail(a.log()))
		return "", 0
	}
}

// stop asks the agent to end, and returns like wait.
func (a *agent) stop() (log string, code int) {
	a.t.Helper()
	require.NoError(a.t, a.cmd.Process.Signal(syscall.SIGTERM))
	return a.wait(soon)
}

// kill ends the agent by SIGKILL, also one that has ended.
func (a *agent) kill() {
	_ = a.cmd.Process.Kill()
	<-a.ended
}

// log is what the agent wrote.
func (a *agent) log() string {
	text, err := os.ReadFile(a.logFile)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// tail is the end of a log, in whole lines.
func tail(log string) string {
	if len(log) <= logTail {
		return log
	}
	_, rest, _ := strings.Cut(log[len(log)-logTail:], "\n")
	return rest
}

// goneFile is what file_log says of a container that was removed meanwhile: an error,
// and harmless.
var goneFile = regexp.MustCompile(`(?m)^\S+\terror\tfileconsumer/\S+\tFailed to open file\t.*no such file or directory.*\n(?:[a-z\t].*\n)*`)

// complaints are the lines of a log at level warn and above, and those that
// are no log lines at all, such as a panic's. Left out is what receivers say that
// discovery has started: for containers of tests beside this one, which they ask in the
// moment in which such a container dies.
func complaints(log string) []string {
	var found []string
	// A log file that goes between being found and being opened, with the stack of it.
	log = goneFile.ReplaceAllString(log, "")
	for line := range strings.Lines(log) {
		fields := strings.SplitN(line, "\t", 3)
		isQuiet := len(fields) == 3 && (fields[1] == "info" || fields[1] == "debug" || strings.Contains(fields[2], `"discovery.rule": `))
		if !isQuiet {
			found = append(found, line)
		}
	}
	return found
}

func TestComplaints(t *testing.T) {
	const (
		quiet = "2026-11-22T19:11:22.854Z\tinfo\tservice.go:1\tready\n"
		gone  = "2026-11-22T19:11:22.855Z\terror\tfileconsumer/file.go:255\tFailed to open file\t{\"error\": \"open /x: no such file or directory\"}\n" +
			"github.com/x.f\n\tgithub.com/x/file.go:1\nsync.(*WaitGroup).Go.func1\n\tsync/waitgroup.go:258\n"
		loud   = "2026-11-22T19:11:22.856Z\twarn\tservice.go:2\tnot so\n"
		denied = "2026-11-22T19:11:22.857Z\terror\tfileconsumer/file.go:255\tFailed to open file\t{\"error\": \"open /x: permission denied\"}\n"
	)
	require.Empty(t, complaints(quiet+gone+quiet))
	require.Equal(t, []string{loud, denied}, complaints(gone+loud+quiet+gone+denied))
	require.Len(t, complaints(denied+"github.com/x.f\n"), 2, "a stack belongs to its error")
}

// get returns the body of a page that answers 200.
func get(url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", url, err)
	}
	request.Close = true // a kept connection would look like a leak
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err // has verb and URL
	}
	defer response.Body.Close()
	body, err := readAll(response)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", url, err)
	}
	return body, nil
}
