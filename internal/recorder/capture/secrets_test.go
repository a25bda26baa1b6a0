package capture_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/redact"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/report"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// drawn makes secrets as people and programs do: words, numbers, signs.
func drawn(n int) []string {
	const letters = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_.+%^*~"
	random := rand.New(rand.NewPCG(9, 1)) // the same in each run
	list := []string{"hunter2-hunter2", "correct.horse.battery"}
	for len(list) < n {
		var b strings.Builder
		b.WriteString("S3")
		for range 6 + random.IntN(30) {
			b.WriteByte(letters[random.IntN(len(letters))])
		}
		list = append(list, b.String())
	}
	return list
}

// leaky knows a container that carries a secret wherever the engine would say one.
type leaky struct{ secret string }

// Inspect implements [capture.Inspector].
func (l leaky) Inspect(_ context.Context, id string) (*docker.Container, error) {
	return &docker.Container{
		ID: id, Name: "worker", Command: "worker",
		Env:    map[string]string{"DB_PASSWORD": l.secret, "PATH": l.secret, "PLAIN": l.secret},
		Labels: map[string]string{"db.pass": l.secret, "dsn.url": "https://u:" + l.secret + "@db/", "team": "blue"},
	}, nil
}

// Lookup implements [capture.Entities].
func (l leaky) Lookup(id string) (capture.Entity, bool) {
	return capture.Entity{
		Container: bundle.Container{ID: id, Name: "worker", Image: "https://u:" + l.secret + "@registry/worker"},
		Tags:      map[string]string{"app.token": l.secret, "note": "password=" + l.secret},
	}, true
}

// Find implements [capture.Entities].
func (leaky) Find(text string, _ bundle.Window) (string, error) { return text, nil }

// Around implements [capture.Entities].
func (leaky) Around(string, bundle.Window) []string { return nil }

// Write implements [capture.Entities].
func (l leaky) Write(to io.Writer, _ bundle.Window, _ func(string) bool) error {
	_, err := fmt.Fprintf(to, `{"entity":{"id":"x","tags":{"app.token":%q},"last_event":{"body":"with password=%s"}}}`+"\n", l.secret, l.secret)
	return err
}

// Plots implements [capture.Story].
func (leaky) Plots(context.Context, string, bundle.Window) ([]report.Plot, error) { return nil, nil }

// Marks implements [capture.Story].
func (l leaky) Marks(context.Context, bundle.Window, func(string) bool) ([]report.Mark, error) {
	return []report.Mark{{Kind: "log", Text: "login with token: " + l.secret, Who: "worker"}}, nil
}

// picture is one as [state.Camera] takes it: with its own redaction.
func (l leaky) picture(r state.Request) *state.Snapshot {
	var redactor redact.Redactor
	argv := []string{"worker", "--password", l.secret, "--api-key=" + l.secret, "DB_PASS=" + l.secret, "postgres://bob:" + l.secret + "@db/shop"}
	s := &state.Snapshot{
		Container: r.Container, At: time.Now(),
		Processes: []state.Process{{PID: 1, Comm: "worker", Argv: redactor.Args(argv)}},
		Host:      map[string]string{"cmdline": redactor.Text("root=/dev/vda1 cryptsecret=" + l.secret)},
		Kernel:    redactor.Text("Killed process 1 (worker) token=" + l.secret),
		Cgroup:    map[string]string{"memory.events": "oom_kill 1\n"},
	}
	s.Redacted = redactor.Counts()
	return s
}

// No secret that something announces survives in any member of a capture.
func TestNoSecretSurvives(t *testing.T) {
	for _, secret := range drawn(40) {
		inBubble(t, func(t *testing.T, r *rig) {
			l := leaky{secret}
			r.camera.shows = l.picture
			r.options.Inspect, r.options.Entities, r.options.Story = l, l, l
			r.options.Agent = func() any { return map[string]any{"token": l.secret, "endpoint": "http://u:" + l.secret + "@h/"} }
			r.start()
			logs := plog.NewLogs()
			resource := logs.ResourceLogs().AppendEmpty()
			resource.Resource().Attributes().PutStr("container.id", workerID)
			scope := resource.ScopeLogs().AppendEmpty()
			scope.Scope().SetName(kernelScope)
			record := scope.LogRecords().AppendEmpty()
			record.SetEventName("container.degraded")
			record.Body().SetStr("runs without --x password=" + l.secret)
			r.engine.ObserveEvents(logs)
			synctest.Wait()
			noFileHas(t, r.dir, l.secret) // the journal and the pictures in it
			r.pass(3 * time.Minute)
			require.Len(t, r.done, 1)
			noMemberHas(t, r.done[0].Path, l.secret)
			require.NotEmpty(t, r.done[0].Manifest.Redactions)
		})
	}
}

// lens notes when it was asked for a picture.
type lens struct {
	capture.Camera
	asked chan time.Time
}

// Take implements [capture.Camera].
func (l lens) Take(ctx context.Context, r state.Request) *state.Snapshot {
	l.asked <- time.Now()
	return l.Camera.Take(ctx, r)
}

// The picture begins when the event is seen: a cgroup does not wait.
func TestPictureIsTakenAtOnce(t *testing.T) {
	l := lens{&camera{}, make(chan time.Time, 1)}
	engine, _, err := capture.Open(capture.Options{Dir: t.TempDir(), Camera: l})
	require.NoError(t, err)
	engine.Start()
	t.Cleanup(engine.Close)
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	resource.Resource().Attributes().PutStr("container.id", workerID)
	scope := resource.ScopeLogs().AppendEmpty()
	scope.Scope().SetName(kernelScope)
	scope.LogRecords().AppendEmpty().SetEventName("container.oom_kill")
	seen := time.Now()
	engine.ObserveEvents(logs)
	late := (<-l.asked).Sub(seen)
	t.Logf("the picture begins %v after the event", late)
	require.Less(t, late, 10*time.Second, "microseconds, and on a busy machine not the minutes of a capture")
}

func noFileHas(t *testing.T, dir, secret string) {
	t.Helper()
	files := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		require.NotContains(t, string(content), secret, path)
		return err
	}))
	require.Positive(t, files)
}

func noMemberHas(t *testing.T, path, secret string) {
	t.Helper()
	reader, err := bundle.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()
	require.Greater(t, len(reader.Names()), 8)
	for _, name := range reader.Names() {
		content, err := reader.ReadFile(name)
		require.NoError(t, err)
		require.NotContains(t, string(content), secret, name)
	}
	text, err := json.Marshal(reader.Manifest)
	require.NoError(t, err)
	require.NotContains(t, string(text), secret)
}

// A real process with secrets in its arguments and environment, through the real
// camera, into a real file.
func TestSecretsOfARealProcess(t *testing.T) {
	testkit.NeedCommand(t, "sh", "sleep")
	const secret = "Zq7-hunter2-Zq7"
	group := testkit.Cgroup(t, "secret")
	testkit.VerifyNoLeaks(t)
	testkit.Run(t, group, "env", "DB_PASSWORD="+secret, "sh", "-c", "sleep 600; true", "app", "--token", secret, "redis://:"+secret+"@cache/0")
	roots := hostfs.NewRoots("/")
	host, err := cgroup.Detect(roots)
	require.NoError(t, err)
	done := make(chan capture.Capture, 1)
	engine, _, err := capture.Open(capture.Options{
		Dir: t.TempDir(), Host: bundle.Host{Name: "here"},
		Camera: state.NewCamera(state.Options{Roots: roots, Cgroups: host, Place: func(string) (string, bool) { return group.Path(), true }}),
		Done:   func(c capture.Capture) { done <- c },
	})
	require.NoError(t, err)
	engine.Start()
	t.Cleanup(engine.Close)
	_, err = engine.Manual(t.Context(), capture.Request{Containers: []string{workerID}})
	require.NoError(t, err)
	made := <-done
	noMemberHas(t, made.Path, secret)
	reader, err := bundle.Open(made.Path)
	require.NoError(t, err)
	processes, err := reader.ReadFile("state/processes.json")
	require.NoError(t, err)
	require.NoError(t, reader.Close())
	require.Contains(t, string(processes), "--token")
	t.Logf("capture of %d bytes took %v", made.Size, made.Took)
}
