package e2e_test

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// hiddenWord stands in the environment and on the command line of a container, in
	// places where secrets stand. No capture may have it.
	hiddenWord = "Tr0ub4dor-and-3"
	// aWhile is what of a container must be recorded before somebody asks for a
	// capture of it, in seconds.
	aWhile = 10
)

// Everybody who may ask for a capture gets one: on a terminal, on the page, by signal,
// and from within an application.
func TestRecorderManual(t *testing.T) {
	engine := testkit.Docker(t)
	// What dies in other tests would join the capture that an application asked for, and
	// make its window longer.
	var quiet []string
	for _, trigger := range []string{"oom", "degraded", "exit", "near_limit"} {
		quiet = append(quiet, "extensions::flight_recorder::triggers::"+trigger+"::enabled: false")
	}
	a := startRecorder(t, settings{env: []string{"TALLYMAN_DOCKER_HOST=" + engine.Host()}, set: quiet})
	b := startBrowser(t)
	c := engine.RunContainer(t, testkit.ContainerSpec{
		Name: "asked", Env: []string{"DB_PASSWORD=" + hiddenWord},
		Cmd: append(shell("echo ready; while :; do sleep 1; done"), "sh", "--password="+hiddenWord),
	})
	testkit.Eventually(t, soon, func() error { return a.hasPast(c.ID, aWhile) })

	ids := map[string]string{"otlp": a.askByRecord(t, c.ID)} // first: its window ends in two minutes
	ids["tool"] = a.askByTool(t, c.ID)
	ids["page"] = a.askByPage(t, b, c.ID)
	ids["signal"] = a.askBySignal(t)
	require.Len(t, uniqueValues(ids), 4, "%v", ids)
	t.Parallel() // the rest is two minutes of waiting
	for _, how := range []string{"tool", "page", "signal", "otlp"} {
		file := a.finished(t, ids[how])
		t.Logf("%s: %s", how, filepath.Base(file))
		a.isWhole(t, file, c)
	}
}

func uniqueValues(m map[string]string) map[string]bool {
	found := map[string]bool{}
	for _, value := range m {
		found[value] = true
	}
	return found
}

func (a *recorderAgent) askByTool(t *testing.T, container string) string {
	t.Helper()
	out := control(t, "capture", "now", "--address", a.url, "--reason", "asked on a terminal", "--container", container, "--last", "5m")
	id := strings.TrimSpace(out)
	c, err := a.captureOf("asked on a terminal")
	require.NoError(t, err)
	require.Equal(t, c.ID, id)
	return id
}

func (a *recorderAgent) askByPage(t *testing.T, b *browser, container string) string {
	t.Helper()
	page := b.open(t, a.url+"/#/container/"+container)
	page.wait(shownWithin, has(fmt.Sprintf("[data-container-page=%q]", container))+" && "+has("[data-capture]"))
	page.do(click("[data-capture]"))
	page.wait(shownWithin, has("[data-dialog=capture] [data-capture-go]"))
	page.write("[data-dialog=capture] input[name=reason]", "asked on the page")
	page.do(click("[data-dialog=capture] [data-capture-go]"))
	page.wait(shownWithin, `document.querySelector("[data-capture-result]").innerText.includes("is being made")`)
	said := page.text("[data-capture-result]")
	c, err := a.captureOf("asked on the page")
	require.NoError(t, err)
	require.Contains(t, said, c.ID)
	require.Contains(t, c.Containers, container)
	page.quiet()
	return c.ID
}

func (a *recorderAgent) askBySignal(t *testing.T) string {
	t.Helper()
	require.NoError(t, a.cmd.Process.Signal(syscall.SIGUSR1))
	var c capture
	testkit.Eventually(t, soon, func() (err error) {
		c, err = a.captureOf("SIGUSR1")
		return err
	})
	require.NoError(t, a.alive())
	return c.ID
}

func (a *recorderAgent) askByRecord(t *testing.T, container string) string {
	t.Helper()
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	resource.Resource().Attributes().PutStr("container.id", container)
	record := resource.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	record.Body().SetStr("asked by the application")
	record.Attributes().PutBool("tallyman.capture", true)
	require.NoError(t, newSender(t, a.agent).logs(logs))
	var c capture
	testkit.Eventually(t, soon, func() (err error) {
		c, err = a.captureOf("asked by the application")
		return err
	})
	return c.ID
}

// isWhole reads a capture with the tool, in every way there is.
func (a *recorderAgent) isWhole(t *testing.T, file string, about *testkit.Container) {
	t.Helper()
	require.NotEmpty(t, manifestOf(t, file))
	dir := filepath.Join(t.TempDir(), "out")
	control(t, "capture", "export", "--to", dir, file)
	require.NotEmpty(t, filesLike(t, dir, "metrics/*/chunks/*"), "samples")
	require.NotEmpty(t, filesLike(t, dir, "metrics/*/index"), "series")
	require.NotEmpty(t, filesLike(t, dir, "events/*"), "events")
	require.FileExists(t, filepath.Join(dir, "report.html"))
	require.FileExists(t, filepath.Join(dir, "state", "host.json"))
	if strings.Contains(filepath.Base(file), about.Name) { // not of the whole host
		processes, err := os.ReadFile(filepath.Join(dir, "state", "processes.json"))
		require.NoError(t, err)
		require.Contains(t, string(processes), about.ID)
	}
	require.NoError(t, hides(file, hiddenWord))
	require.NoError(t, eventsHide(t, filepath.Join(dir, "events"), hiddenWord))

	redacted := filepath.Join(t.TempDir(), "given-away.tmcap")
	control(t, "capture", "redact", "--without-events", "--out", redacted, file)
	require.NotEmpty(t, manifestOf(t, redacted))
	require.NoError(t, hides(redacted, hiddenWord))
	out, err := runControl(t.Context(), "capture", "show", damaged(t, file))
	require.Error(t, err, "a damaged capture passes for a whole one: %s", out)
}

func filesLike(t *testing.T, dir, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
	require.NoError(t, err)
	return found
}

// eventsHide returns nil if a word is in none of the events of a capture, which are
// compressed in it.
func eventsHide(t *testing.T, dir, word string) error {
	t.Helper()
	reader, found, err := eventstore.OpenDir(dir)
	require.NoError(t, err)
	require.Empty(t, found.Damaged)
	defer func() { require.NoError(t, reader.Close()) }()
	seen := 0
	var told error
	require.NoError(t, reader.Scan(t.Context(), eventstore.Query{}, func(e eventstore.Event) bool {
		seen++
		if text := fmt.Sprint(e.Body, e.Attributes.AsRaw()); strings.Contains(text, word) {
			told = fmt.Errorf("event %s of %v has %q: %s", e.Name, e.Time, word, text)
		}
		return told == nil
	}))
	require.NotZero(t, seen)
	return told
}

// hides returns nil if a word is in no file of an archive.
func hides(archive, word string) error {
	r, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer r.Close()
	var errs []error
	for _, f := range r.File {
		content, err := contentOf(f)
		if err == nil && strings.Contains(content, word) {
			err = fmt.Errorf("%s has %q", f.Name, word)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func contentOf(f *zip.File) (string, error) {
	from, err := f.Open()
	if err != nil {
		return "", err
	}
	defer from.Close()
	content, err := io.ReadAll(from)
	return string(content), err
}

// damaged is a copy of a capture with a byte changed in the middle of its samples.
func damaged(t *testing.T, file string) string {
	t.Helper()
	r, err := zip.OpenReader(file)
	require.NoError(t, err)
	defer r.Close()
	for _, f := range r.File {
		if !strings.Contains(f.Name, "/chunks/") {
			continue
		}
		begin, err := f.DataOffset()
		require.NoError(t, err)
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		content[begin+int64(f.CompressedSize64)/2] ^= 0x40
		path := filepath.Join(t.TempDir(), "damaged.tmcap")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	t.Fatalf("%s has no samples", file)
	return ""
}
