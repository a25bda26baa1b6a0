package e2e_test

import (
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// logRecord is one line of a container, as a backend gets it.
type logRecord struct {
	at         time.Time
	body       string
	resource   map[string]any
	attributes map[string]any
}

// logAgent is an agent that sends container logs to a sink, over several
// starts. Not for concurrent use.
type logAgent struct {
	t        *testing.T
	settings settings
	agent    *agent
	sink     *testkit.Sink
	taken    int                    // requests of the sink that are in byOwner
	byOwner  map[string][]logRecord // container id or pod uid
}

// newLogAgent does not start it. The env says where the logs are; nothing is
// looked for where it does not.
func newLogAgent(t *testing.T, env ...string) *logAgent {
	t.Helper()
	l := &logAgent{t: t, sink: testkit.NewSink(t), byOwner: map[string][]logRecord{}}
	nothing := t.TempDir()
	l.settings = settings{
		configs: []string{"otelcol-config.yaml", "deploy/otlp.yaml"},
		env: append([]string{
			"TALLYMAN_DOCKER_ROOT=" + nothing, "TALLYMAN_PODS_ROOT=" + nothing,
			"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + l.sink.Address(),
		}, env...), // of two settings of one name the last one counts
		set:   []string{"exporters::otlp_grpc::tls::insecure: true"}, // http:// alone does not switch TLS off
		state: t.TempDir(),
	}
	return l
}

func (l *logAgent) start() {
	l.t.Helper()
	l.agent = startAgent(l.t, l.settings)
}

// stop ends the agent the usual way and returns its log.
func (l *logAgent) stop() string {
	l.t.Helper()
	log, code := l.agent.stop()
	require.Zero(l.t, code, log)
	return log
}

// watches returns a condition: the agent has found the file of that name.
func (l *logAgent) watches(part string) func() error {
	return func() error {
		log, err := os.ReadFile(l.agent.logFile)
		if err != nil {
			return err // has verb and path
		}
		for line := range strings.Lines(string(log)) {
			if strings.Contains(line, "Started watching file") && strings.Contains(line, part) {
				return nil
			}
		}
		return fmt.Errorf("file of %s: %w", part, errUnread)
	}
}

// hasLooked waits for the offsets, which are written after each look for files.
func (l *logAgent) hasLooked() error {
	files, err := filepath.Glob(filepath.Join(l.settings.state, "logs", "*docker*"))
	if err != nil {
		return fmt.Errorf("find offsets: %w", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err // has verb and path
		}
		if strings.Contains(string(text), "knownFiles") {
			return nil
		}
	}
	return fmt.Errorf("offsets in %d files: %w", len(files), errUnread)
}

// hasNoted returns a condition: the agent has written that it has read a line. It keeps
// the beginning of each file (fingerprint_size) beside the offset.
func (l *logAgent) hasNoted(line string) func() error {
	return func() error {
		files, err := filepath.Glob(filepath.Join(l.settings.state, "logs", "*docker*"))
		if err != nil {
			return fmt.Errorf("find offsets: %w", err)
		}
		for _, name := range files {
			if text, err := os.ReadFile(name); err != nil || strings.Contains(string(text), `{"log":"`+line+`\n"`) {
				return err // has verb and path
			}
		}
		return fmt.Errorf("%q in %d files of offsets: %w", line, len(files), errUnread)
	}
}

// records are those of a container or pod so far, in the order of arrival.
func (l *logAgent) records(owner string) []logRecord {
	all := l.sink.Logs()
	for _, logs := range all[l.taken:] {
		for _, resource := range logs.ResourceLogs().All() {
			l.take(resource)
		}
	}
	l.taken = len(all)
	return l.byOwner[owner]
}

// take keeps what is a line: the events of containers have no stream.
func (l *logAgent) take(from plog.ResourceLogs) {
	resource := from.Resource().Attributes().AsRaw()
	for _, scope := range from.ScopeLogs().All() {
		for _, record := range scope.LogRecords().All() {
			if _, ok := record.Attributes().Get("log.iostream"); !ok {
				continue
			}
			for _, key := range []string{"container.id", "k8s.pod.uid"} {
				owner, _ := resource[key].(string)
				l.byOwner[owner] = append(l.byOwner[owner], logRecord{
					at: record.Timestamp().AsTime(), body: record.Body().AsString(),
					resource: resource, attributes: record.Attributes().AsRaw(),
				})
			}
		}
	}
}

// arrived returns a condition: there are as many records, or more.
func (l *logAgent) arrived(owner string, n int) func() error {
	return func() error {
		if got := len(l.records(owner)); got < n {
			return fmt.Errorf("%d of %d lines of %.12s: %w", got, n, owner, errLines)
		}
		return nil
	}
}

// once tells whether there is each of the numbered lines, and none twice.
func once(records []logRecord) error {
	times := map[string]int{}
	for _, r := range records {
		times[r.body]++
	}
	var lost, doubled []int
	for i := range numbered {
		line := fmt.Sprintf("line %d", i)
		switch times[line] {
		case 0:
			lost = append(lost, i)
		case 1:
		default:
			doubled = append(doubled, i)
		}
		delete(times, line)
	}
	if len(lost)+len(doubled)+len(times) > 0 {
		return fmt.Errorf("lost %v, doubled %v, unknown %v: %w", lost, doubled, times, errLines)
	}
	return nil
}

func bodies(records []logRecord) []string {
	var found []string
	for _, r := range records {
		found = append(found, r.body)
	}
	return found
}

// dockerRoot is the folder that has the engine's containers.
func dockerRoot(t *testing.T, engine *testkit.Engine) string {
	t.Helper()
	info, err := engine.Client().Info(t.Context(), client.InfoOptions{})
	require.NoError(t, err)
	return info.Info.DockerRootDir
}

// writer is a container that does one step after the other and then waits. Of
// its log the engine keeps that many files of that size.
func writer(size string, files int, steps ...string) testkit.ContainerSpec {
	return testkit.ContainerSpec{
		Name: "writer", Cmd: shell(strings.Join(append(steps, "sleep 10000"), "\n")),
		Adjust: func(_ *container.Config, h *container.HostConfig) {
			h.LogConfig = container.LogConfig{Type: "json-file", Config: map[string]string{
				"max-size": size, "max-file": strconv.Itoa(files),
			}}
		},
	}
}

// count is a step that writes the numbered lines from a to b-1, in bursts.
func count(a, b int) string {
	return fmt.Sprintf(`i=%d; while [ $i -lt %d ]; do n=0
while [ $n -lt %d ]; do echo line $i; i=$((i+1)); n=$((n+1)); done; sleep 0.1; done`, a, b, perBurst)
}

// waitFor is a step that waits for a file below the container's /tmp.
func waitFor(name string) string {
	return "while [ ! -e /tmp/" + name + " ]; do sleep 0.05; done"
}

func execute(t *testing.T, c *testkit.Container, argv ...string) {
	t.Helper()
	done, err := c.Exec(t.Context(), argv...)
	require.NoError(t, err)
	require.Zero(t, done.ExitCode, done.Output)
}

// hasWritten returns a condition: the engine knows a line of that text.
func hasWritten(t *testing.T, c *testkit.Container, line string) func() error {
	return func() error {
		text, err := c.Logs(t.Context())
		if err != nil || !strings.Contains(text, line+"\n") {
			return errors.Join(err, errMissing)
		}
		return nil
	}
}

// podLog is the log of one container of a pod, as containerd and the kubelet
// keep it.
type podLog struct {
	t       *testing.T
	file    string // what is written to
	uid     string
	to      *os.File
	rotated []string // not compressed yet, oldest first
	turn    int
}

func newPodLog(t *testing.T, dir string) *podLog {
	t.Helper()
	_, uid, _ := strings.Cut(filepath.Base(filepath.Dir(dir)), "_")
	_, uid, _ = strings.Cut(uid, "_")
	p := &podLog{t: t, uid: uid, file: filepath.Join(dir, "0.log")}
	require.NoError(t, os.MkdirAll(dir, 0o755))
	p.open()
	t.Cleanup(func() { require.NoError(t, p.to.Close()) })
	return p
}

func (p *podLog) open() {
	p.t.Helper()
	to, err := os.OpenFile(p.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	require.NoError(p.t, err)
	p.to = to
}

func (p *podLog) write(tagged string) { p.writeOn("stdout", tagged) }

func (p *podLog) writeOn(stream, tagged string) {
	p.t.Helper()
	_, err := fmt.Fprintf(p.to, "%s %s %s\n", time.Now().UTC().Format(time.RFC3339Nano), stream, tagged)
	require.NoError(p.t, err)
}

// rotate renames the file and has the runtime open a new one.
func (p *podLog) rotate() {
	p.t.Helper()
	p.turn++
	name := fmt.Sprintf("%s.20261121-%06d", p.file, p.turn)
	require.NoError(p.t, os.Rename(p.file, name))
	old := p.to
	p.open()
	require.NoError(p.t, old.Close())
	p.rotated = append(p.rotated, name)
}

// compress leaves only the latest of the renamed files as it is.
func (p *podLog) compress() {
	p.t.Helper()
	for ; len(p.rotated) > 1; p.rotated = p.rotated[1:] {
		name := p.rotated[0]
		text, err := os.ReadFile(name)
		require.NoError(p.t, err)
		to, err := os.OpenFile(name+".tmp", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
		require.NoError(p.t, err)
		w := gzip.NewWriter(to)
		_, err = w.Write(text)
		require.NoError(p.t, errors.Join(err, w.Close(), to.Close()))
		require.NoError(p.t, os.Rename(name+".tmp", name+".gz"))
		require.NoError(p.t, os.Remove(name))
	}
}
