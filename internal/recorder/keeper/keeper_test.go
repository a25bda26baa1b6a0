package keeper

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/recorder"
	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

const within = 30 * time.Second

var worker = strings.Repeat("ab", 32)

func options(dir string) Options {
	return Options{
		Dir: dir, MaxBytes: 256 << 20, Retention: time.Hour, EntityRetention: time.Hour, Captures: 3,
		Host: "db-7", Version: "1.2.3", Roots: hostfs.NewRoots("/"),
		API: api.Options{Endpoints: []string{"127.0.0.1:0"}},
	}
}

func start(t *testing.T, o Options) (*Keeper, Recovery) {
	t.Helper()
	k, recovery, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	require.NoError(t, k.Start(t.Context()))
	return k, recovery
}

// ask returns what is served at a path.
func ask(t *testing.T, k *Keeper, path string, into any) error {
	t.Helper()
	response, err := http.Get(k.Addresses()[0] + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, response.Status, body)
	}
	return json.Unmarshal(body, into)
}

func tag(resource pcommon.Resource) {
	resource.Attributes().PutStr("container.id", worker)
	resource.Attributes().PutStr("container.name", "worker")
	resource.Attributes().PutStr("service.name", "shop-worker")
}

func memory(bytes int64) pmetric.Metrics {
	md := pmetric.NewMetrics()
	resource := md.ResourceMetrics().AppendEmpty()
	tag(resource.Resource())
	metric := resource.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	metric.SetName("container.memory.usage")
	metric.SetUnit("By")
	sum := metric.SetEmptySum()
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	point := sum.DataPoints().AppendEmpty()
	point.SetIntValue(bytes)
	point.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	return md
}

func event(name, body string) (plog.Logs, plog.LogRecord) {
	ld := plog.NewLogs()
	resource := ld.ResourceLogs().AppendEmpty()
	tag(resource.Resource())
	record := resource.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	record.SetEventName(name)
	record.Body().SetStr(body)
	record.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	return ld, record
}

func spans() ptrace.Traces {
	td := ptrace.NewTraces()
	resource := td.ResourceSpans().AppendEmpty()
	tag(resource.Resource())
	span := resource.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetName("GET /cart")
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	return td
}

// What comes in by the sink is what the pages show, also after a restart.
func TestKept(t *testing.T) {
	dir := t.TempDir()
	k, recovery := start(t, options(dir))
	require.Empty(t, recovery.Texts())
	k.Metrics(memory(4711))
	started, _ := event("container.start", "The container started.")
	k.Logs(started)
	k.Traces(spans())

	check := func(k *Keeper) {
		t.Helper()
		testkit.Eventually(t, within, func() error { return shown(t, k) })
	}
	check(k)
	require.NoError(t, k.Close())
	require.NoError(t, k.Close(), "twice is once")

	again, recovery := start(t, options(dir))
	require.Empty(t, recovery.Texts(), "it ended as it should")
	check(again)
}

func shown(t *testing.T, k *Keeper) error {
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := ask(t, k, "/api/v1/query?query=last_over_time(container_memory_usage_bytes[5m])", &answer); err != nil {
		return err
	}
	if len(answer.Data.Result) != 1 || answer.Data.Result[0].Value[1] != "4711" {
		return fmt.Errorf("metrics: %+v", answer)
	}
	var entities struct{ Entities []api.Entity }
	if err := ask(t, k, "/api/entities", &entities); err != nil {
		return err
	}
	if len(entities.Entities) != 1 || entities.Entities[0].Name != "worker" {
		return fmt.Errorf("containers: %+v", entities)
	}
	var events struct{ Events []api.Event }
	if err := ask(t, k, "/api/events", &events); err != nil {
		return err
	}
	if len(events.Events) != 2 {
		return fmt.Errorf("events: %+v", events)
	}
	return nil
}

// After the end of a container its series have no value.
func TestEnded(t *testing.T) {
	k, _ := start(t, options(t.TempDir()))
	md := memory(1)
	at := time.Now().Add(-time.Second) // the end is seen from the millisecond after it on
	md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(0).SetTimestamp(pcommon.NewTimestampFromTime(at))
	k.Metrics(md)
	count := func() (n int, err error) {
		var answer struct {
			Data struct{ Result []any }
		}
		err = ask(t, k, "/api/v1/query?query=container_memory_usage_bytes", &answer)
		return len(answer.Data.Result), err
	}
	n, err := count()
	require.NoError(t, err)
	require.Equal(t, 1, n)
	stopped, record := event("container.stop", "The container stopped.")
	record.SetTimestamp(pcommon.NewTimestampFromTime(at))
	k.Logs(stopped)
	n, err = count()
	require.NoError(t, err)
	require.Equal(t, 1, n, "an application says so")
	stopped.ResourceLogs().At(0).ScopeLogs().At(0).Scope().SetName(stopScope)
	k.Logs(stopped)
	testkit.Eventually(t, within, func() error {
		if n, err = count(); err == nil && n != 0 {
			err = fmt.Errorf("%d series have a value", n)
		}
		return err
	})
}

// A capture is announced with what one needs to find it.
func TestAnnounced(t *testing.T) {
	k, _ := start(t, options(t.TempDir()))
	told := make(chan plog.Logs, 1)
	stop := k.Announce(func(ld plog.Logs) { told <- ld })
	k.Metrics(memory(1))
	id, err := k.Capture(t.Context(), "to look at it")
	require.NoError(t, err)
	ld := <-told
	record := ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	require.Equal(t, EventCaptured, record.EventName())
	require.Equal(t, plog.SeverityNumberInfo, record.SeverityNumber())
	attributes := record.Attributes().AsRaw()
	require.Equal(t, id, attributes["capture.id"])
	require.Equal(t, "manual", attributes["capture.reason"])
	require.FileExists(t, attributes["capture.path"].(string))
	info, err := os.Stat(attributes["capture.path"].(string))
	require.NoError(t, err)
	require.EqualValues(t, info.Size(), attributes["capture.size"])
	require.EqualValues(t, 1, k.Stats().Captures["made"])
	stop()
	_, err = k.Capture(t.Context(), "once more")
	require.NoError(t, err)
	testkit.Eventually(t, within, func() error {
		if made := k.Stats().Captures["made"]; made != 2 {
			return fmt.Errorf("%d captures", made)
		}
		return nil
	})
	require.Empty(t, told, "nobody listens")
}

// An OOM kill opens a capture at once; a switched-off trigger does not.
func TestTriggered(t *testing.T) {
	open := func(k *Keeper) error {
		var list struct{ Captures []api.Capture }
		if err := ask(t, k, "/api/captures", &list); err != nil {
			return err
		}
		if len(list.Captures) != 1 || list.Captures[0].State != api.CaptureRecording || list.Captures[0].Reason != "oom" {
			return fmt.Errorf("captures: %+v", list.Captures)
		}
		return nil
	}
	k, _ := start(t, options(t.TempDir()))
	ld, record := event("container.oom_kill", "The OOM killer killed tail.")
	ld.ResourceLogs().At(0).ScopeLogs().At(0).Scope().SetName(stopScope)
	record.Attributes().PutStr("process.executable.name", "tail")
	k.Logs(ld)
	testkit.Eventually(t, within, func() error { return open(k) })

	o := options(t.TempDir())
	o.Off = []capture.Kind{capture.OOM, capture.Degraded}
	k, _ = start(t, o)
	k.Logs(ld)
	degraded, _ := event("container.degraded", "It runs without tail.")
	degraded.ResourceLogs().At(0).ScopeLogs().At(0).Scope().SetName(stopScope)
	k.Logs(degraded)
	exited, record := event("container.stop", "It ended.")
	exited.ResourceLogs().At(0).ScopeLogs().At(0).Scope().SetName(stopScope)
	record.Attributes().PutInt("container.exit_code", 1)
	k.Logs(exited)
	var list struct{ Captures []api.Capture }
	testkit.Eventually(t, within, func() error {
		if err := ask(t, k, "/api/captures", &list); err != nil || len(list.Captures) != 1 {
			return fmt.Errorf("captures: %+v, %w", list.Captures, err)
		}
		return nil
	})
	require.Equal(t, "exit", list.Captures[0].Reason, "the only one that is on, and the last to come")
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	k, _ := start(t, options(dir))
	_, _, err := Open(options(dir))
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, dir)
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm(), "others may not read command lines")
	require.NoError(t, k.Close())

	version := filepath.Join(dir, "version")
	require.NoError(t, os.WriteFile(version, []byte("2\n"), 0o600))
	_, _, err = Open(options(dir))
	require.ErrorIs(t, err, ErrNewer)
	require.NoError(t, os.WriteFile(version, nil, 0o600), "torn by a crash")
	start(t, options(dir))
	text, err := os.ReadFile(version)
	require.NoError(t, err)
	require.Equal(t, "1\n", string(text))
}

// A start that does not succeed gives everything back.
func TestOpenFails(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "version"), []byte("1\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "events"), nil, 0o600))
	_, _, err := Open(options(dir))
	require.ErrorContains(t, err, filepath.Join(dir, "events"))
	require.NoError(t, os.Remove(filepath.Join(dir, "events")))

	o := options(dir)
	o.API.Endpoints = []string{"0.0.0.0:0"}
	k, _, err := Open(o)
	require.NoError(t, err)
	require.ErrorIs(t, k.Start(t.Context()), api.ErrOpen)
	require.NoError(t, k.Close())
	k, _, err = Open(options(dir))
	require.NoError(t, err, "the folder is free")
	require.NoError(t, k.Close())
}

// Queues in front of the recorder are seen on its page until they end.
func TestQueues(t *testing.T) {
	k, _ := start(t, options(t.TempDir()))
	release := k.WatchQueue("metrics", func() recorder.Queue { return recorder.Queue{Waiting: 3, Limit: 10, Dropped: 7} })
	var stats api.AgentStats
	require.NoError(t, ask(t, k, "/api/agent", &stats))
	require.Equal(t, api.QueueStats{Length: 3, Capacity: 10, Dropped: api.Counts{"metrics": 7}}, stats.Queue)
	release()
	stats = api.AgentStats{}
	require.NoError(t, ask(t, k, "/api/agent", &stats))
	require.Equal(t, api.QueueStats{Dropped: api.Counts{}}, stats.Queue)
}

func TestClosedTwiceWithoutStart(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	k, _, err := Open(options(t.TempDir()))
	require.NoError(t, err)
	require.NoError(t, k.Close())
	require.NoError(t, k.Close())
	_, err = k.Capture(context.Background(), "too late")
	require.Error(t, err)
}
