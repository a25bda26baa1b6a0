package e2e_test

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// forwarder is a program that, as a single process, waits to be told and then
	// grows until it is killed. Its shell, which is process 1, lives on.
	forwarder = `mkfifo /go; cat >/forwarder <<'end'
#!/bin/sh
read x </go
x=grow
while :; do x=$x$x; done
end
chmod +x /forwarder; /forwarder & wait; exec sleep 1000000`
	// toldWithin is what the issue promises: a person sees it five seconds later.
	toldWithin = 5 * time.Second
	// history is how much of its past a container has before it loses a process, and
	// again before it is removed: enough for a plot.
	history = 20
)

// oomStory is a container that lost its forwarder, on the way from the page to a file
// on somebody's desk.
type oomStory struct {
	*recorderAgent
	t      *testing.T
	page   *tab
	victim *testkit.Container
	kill   recordedEvent
	// capture is its id, file the copy of it that travels.
	capture, file string
}

// A container in which a forked child is killed for lack of memory is seen, kept and
// explained, also when it is long gone. Not parallel: kills and exits in other tests'
// containers would be noted in the same capture, each of which makes it longer.
func TestRecorderOOM(t *testing.T) {
	engine := testkit.Docker(t)
	s := &oomStory{t: t, recorderAgent: startRecorder(t, settings{env: []string{"TALLYMAN_DOCKER_HOST=" + engine.Host()}})}
	b := startBrowser(t)
	name := fmt.Sprintf("relay-%d", os.Getpid())
	s.page = b.open(t, s.url+"/"+only(name))
	s.victim = run(t, engine, testkit.ContainerSpec{
		Name: name, Memory: 32 * mib, MemorySwap: 32 * mib, Cmd: shell(forwarder),
	})
	t.Cleanup(func() { _ = s.victim.Remove(context.Background()) }) // the story removes it, unless it breaks off
	s.page.wait(soon, has(s.row("running")))
	testkit.Eventually(t, soon, func() error { return s.hasPast(s.victim.ID, history) })

	s.losesItsForwarder()
	s.isCaptured()
	s.isRemoved()
	s.isTold()
	s.isListed()
	s.opensElsewhere(b)
	s.reportStandsAlone(b)
	s.page.quiet()
}

// only is the table of the containers of a name. Rows that are out of sight are not made,
// and other tests have containers, too.
func only(name string) string { return "#/containers?q=name:" + name }

func (s *oomStory) row(state string) string {
	return fmt.Sprintf(`[data-container=%q][data-state=%q]`, s.victim.ID, state)
}

// losesItsForwarder proves the promise of five seconds on the page itself.
func (s *oomStory) losesItsForwarder() {
	told := time.Now()
	_, err := s.victim.Exec(s.t.Context(), shell("echo >/go")...)
	require.NoError(s.t, err)
	s.page.wait(soon, has(s.row("broken"))+" && "+has(fmt.Sprintf("[data-trouble=%q]", s.victim.ID)))
	seen := time.Now()
	trouble := s.page.text(fmt.Sprintf("[data-trouble=%q]", s.victim.ID))
	testkit.Eventually(s.t, soon, func() (err error) {
		s.kill, err = s.only(s.victim.ID, "container.oom_kill")
		return err
	})
	at := moment(s.kill.T)
	s.t.Logf("killed %v after it was told to grow, on the page %v after that: %q",
		at.Sub(told).Round(time.Millisecond), seen.Sub(at).Round(time.Millisecond), trouble)
	require.WithinRange(s.t, at, told, seen)
	if late := seen.Sub(at); late > toldWithin { // the rest of the story is worth knowing all the same
		s.t.Errorf("on the page %v after the kill, want %v", late, toldWithin)
	}
	require.Contains(s.t, trouble, "forwarder")
	s.saysWhen(trouble, seen)
	require.Equal(s.t, "forwarder", s.kill.Attributes["process.executable.name"])
}

var clockText = regexp.MustCompile(`\d\d:\d\d:\d\d`)

// saysWhen proves that a text has the moment of the kill, or the one at which it was
// clear that nobody had taken the killed process's place.
func (s *oomStory) saysWhen(text string, seen time.Time) {
	s.t.Helper()
	var clocks []string
	for at := moment(s.kill.T).UTC().Truncate(time.Second); !at.After(seen); at = at.Add(time.Second) {
		clocks = append(clocks, at.Format("15:04:05"))
	}
	require.Contains(s.t, clocks, clockText.FindString(text), "%q", text)
}

// isCaptured finds the capture on the page, while it is still recorded.
func (s *oomStory) isCaptured() {
	testkit.Eventually(s.t, toldWithin, func() error {
		c, err := s.captureOf(s.victim.ID)
		s.capture = c.ID
		return err
	})
	s.page.show("#/captures")
	s.page.wait(shownWithin, has(fmt.Sprintf("[data-capture-row=%q]", s.capture)))
	row := s.page.text(fmt.Sprintf("[data-capture-row=%q]", s.capture))
	require.Contains(s.t, row, "forwarder")
	require.Contains(s.t, row, moment(s.kill.T).UTC().Format("15:04:05"))
}

// isRemoved looks at the row of a container that the engine does not know any more.
func (s *oomStory) isRemoved() {
	testkit.Eventually(s.t, soon, func() error {
		if past := time.Since(moment(s.kill.T)); past < history*time.Second {
			return fmt.Errorf("killed %v ago: %w", past, errNotYet)
		}
		return nil
	})
	require.NoError(s.t, s.victim.Remove(s.t.Context())) // as docker rm -f
	found := only(s.victim.Name)
	s.page.show(found)
	s.page.wait(soon, has(s.row("ended")))
	require.Contains(s.t, s.page.text(s.row("ended")), s.victim.Name)
	known, err := s.container(s.victim.ID)
	require.NoError(s.t, err)
	require.Equal(s.t, "ended", known.State)
	require.Positive(s.t, known.Stop)
	// The row is still there when the page is loaded anew.
	s.page.navigate("about:blank")
	s.page.navigate(s.url + "/" + found)
	s.page.wait(shownWithin, has(s.row("ended")))
}

// isTold waits for the end of the window, and for the record that is sent on.
func (s *oomStory) isTold() {
	path := s.finished(s.t, s.capture)
	var record event
	testkit.Eventually(s.t, soon, func() (err error) {
		record, err = s.event(s.victim.ID, "capture.finished")
		return err
	})
	require.Equal(s.t, s.capture, record.attributes["capture.id"])
	require.Equal(s.t, "oom", record.attributes["capture.reason"])
	require.Equal(s.t, path, record.attributes["capture.path"])
	if !strings.Contains(record.body, "forwarder") { // the rest of the story is worth knowing all the same
		s.t.Errorf("%q does not name the process", record.body)
	}
	require.Equal(s.t, s.victim.Name, record.resource["container.name"])
	var c capture
	require.NoError(s.t, s.ask("/api/captures/"+s.capture, nil, &c))
	// Ten minutes before, two after, and by how much triggers that joined were later.
	require.LessOrEqual(s.t, c.From, s.kill.T-590)
	require.GreaterOrEqual(s.t, c.To, s.kill.T+119)
	s.page.show("#/captures")
	s.page.wait(shownWithin, has(fmt.Sprintf(`[data-capture-row=%q][data-capture-state="ready"] [data-download]`, s.capture)))
	s.t.Logf("captured: %d bytes, %s", c.Bytes, c.Verdict)
}

// isListed asks the tool.
func (s *oomStory) isListed() {
	require.Contains(s.t, control(s.t, "capture", "ls", "--dir", s.captureDir()), s.capture)
	shown := control(s.t, "capture", "show", "--dir", s.captureDir(), s.capture)
	for _, part := range []string{"forwarder", s.victim.Name, "oom", "report.html"} {
		require.Contains(s.t, shown, part)
	}
	s.file = filepath.Join(s.t.TempDir(), "from-another-host.tmcap")
	content, err := os.ReadFile(filepath.Join(s.captureDir(), s.capture+".tmcap"))
	require.NoError(s.t, err)
	require.NoError(s.t, os.WriteFile(s.file, content, 0o600))
}

// opensElsewhere serves the copy on a port of its own.
func (s *oomStory) opensElsewhere(b *browser) {
	opened := openCapture(s.t, s.file)
	require.NotEqual(s.t, s.url, opened)
	page := b.open(s.t, opened+"/#/container/"+s.victim.ID)
	page.wait(shownWithin, has(`[data-mode="capture"]`)+" && "+has(`[data-banner="capture"]`))
	page.wait(shownWithin, has(fmt.Sprintf("[data-container-page=%q]", s.victim.ID)))
	for _, panel := range []string{"cpu", "memory"} {
		page.wait(shownWithin, has(fmt.Sprintf(`[data-panel=%q][data-panel-state="ready"] [data-plot]`, panel)))
	}
	page.wait(shownWithin, `document.querySelector("[data-verdict]").innerText.includes("forwarder")`)
	page.wait(shownWithin, has(`[data-event="container.oom_kill"]`))
	s.showsProcesses(page)
	page.quiet()
	s.hasLastMinutes(opened)
}

// showsProcesses looks for the killed process in the table of what ran.
func (s *oomStory) showsProcesses(page *tab) {
	page.do(click(`[data-tab="processes"]`))
	page.wait(shownWithin, `document.querySelector("[data-tabpanel=processes]").innerText.includes("/bin/sh")
		|| document.querySelector("[data-tabpanel=processes]").innerText.includes("sleep")`)
	require.Contains(s.t, page.text("[data-tabpanel=processes]"), "forwarder")
}

// hasLastMinutes proves that plots have something to show: a sample for each second
// from before the kill to the removal.
func (s *oomStory) hasLastMinutes(opened string) {
	end, err := s.only(s.victim.ID, "container.stop")
	require.NoError(s.t, err)
	when := span{int64(s.kill.T) - history + 5, int64(end.T) - 2}
	for _, metric := range []string{"container_memory_usage_bytes", "container_cpu_usage"} {
		found, err := matrixOf(opened, fmt.Sprintf("%s{container_id=%q}", metric, s.victim.ID), when)
		require.NoError(s.t, err)
		require.Len(s.t, found, 1, metric)
		var missing []int64
		for second := when.from; second <= when.to; second++ {
			if _, ok := found[0][second]; !ok {
				missing = append(missing, second-int64(s.kill.T))
			}
		}
		require.Empty(s.t, missing, "%s: seconds after the kill, of %d", metric, when.to-when.from+1)
	}
}

// reportStandsAlone opens the page that is in the file, without anybody serving it.
func (s *oomStory) reportStandsAlone(b *browser) {
	path := filepath.Join(s.t.TempDir(), "report.html")
	unzip(s.t, s.file, "report.html", path)
	page := b.tab(s.t)
	page.navigate("file://" + path)
	page.wait(shownWithin, `document.readyState === "complete" && document.body.innerText.includes("forwarder")`)
	text := evaluate[string](page, "document.body.innerText")
	require.Contains(s.t, text, s.victim.Name)
	require.Contains(s.t, text, moment(s.kill.T).UTC().Format("15:04:05"))
	require.Positive(s.t, evaluate[int](page, `document.querySelectorAll("svg, canvas").length`), "no plots")
	page.quiet()
	if info, err := os.Stat(path); err == nil {
		s.t.Logf("report.html: %d bytes", info.Size())
	}
}

// openCapture starts `tallymanctl capture open` and returns the address that it
// prints. At the end of the test it is interrupted and must leave nothing.
func openCapture(t *testing.T, file string) string {
	t.Helper()
	dir, temporary := t.TempDir(), t.TempDir()
	log, err := os.Create(filepath.Join(dir, "open.log"))
	require.NoError(t, err)
	defer log.Close()
	viewer := &agent{t: t, ended: make(chan struct{}), logFile: log.Name()}
	viewer.cmd = exec.Command(controlPath(), "capture", "open", "--listen", "127.0.0.1:0", file)
	viewer.cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
	viewer.cmd.Stdout, viewer.cmd.Stderr = log, log
	viewer.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, startProcess(viewer))
	t.Cleanup(func() {
		require.NoError(t, viewer.cmd.Process.Signal(os.Interrupt))
		said, code := viewer.wait(soon)
		require.Zero(t, code, said)
		left, err := os.ReadDir(temporary)
		require.NoError(t, err)
		require.Empty(t, left, "capture open leaves its files")
	})
	var address string
	testkit.Eventually(t, soon, func() error {
		if err := viewer.alive(); err != nil {
			t.Fatal(err)
		}
		if address = addressText.FindString(viewer.log()); address == "" {
			return fmt.Errorf("address of the opened capture: %w", errNotYet)
		}
		return nil
	})
	return strings.TrimSuffix(address, "/")
}

var addressText = regexp.MustCompile(`http://127\.0\.0\.1:\d+/`)

// unzip takes one file out of an archive.
func unzip(t *testing.T, archive, name, to string) {
	t.Helper()
	r, err := zip.OpenReader(archive)
	require.NoError(t, err)
	defer r.Close()
	from, err := r.Open(name)
	require.NoError(t, err)
	defer from.Close()
	content, err := io.ReadAll(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, content, 0o600))
}

// manifestOf is the manifest of a capture, which the tool prints after a check of all
// its files.
func manifestOf(t *testing.T, file string) map[string]any {
	t.Helper()
	var m map[string]any
	out := control(t, "capture", "show", "--json", file)
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		t.Fatal(errors.Join(err, errors.New(out)))
	}
	return m
}
