package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// shopPast is how many seconds of the shop are recorded before it is looked at,
	// and pictured how many where somebody wants pictures: they should show some.
	shopPast, pictured = 30, 180
	// leastPicture is below the size of any page of the view, in bytes: a blank one of
	// that size takes less than 10 kB.
	leastPicture = 15_000
)

// shop is a small application: it serves, stores, computes, fails and loses a worker.
type shop struct {
	*recorderAgent
	t          *testing.T
	engine     *testkit.Engine
	containers map[string]*testkit.Container
	// file is the capture of api.
	file string
}

// Each page shows live data of real containers, and has nothing to complain about.
func TestRecorderPages(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "dockerd", "docker", "ip", "chromium")
	engine, err := testkit.StartEngine(t.Context(), t.TempDir(), t.Logf)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Stop()) })
	s := &shop{t: t, engine: engine, containers: map[string]*testkit.Container{}}
	s.recorderAgent = startRecorder(t, settings{env: []string{"TALLYMAN_DOCKER_HOST=" + engine.Host()}})
	s.opens()
	past := float64(shopPast)
	if os.Getenv(screenshotsEnv) != "" {
		past = pictured
	}
	testkit.Eventually(t, soon+time.Duration(past)*time.Second, func() error { return s.hasPast(s.containers["api"].ID, past) })
	s.losesWorker()
	s.isCaptured()

	b := startBrowser(t)
	for _, page := range []struct {
		name, hash string
		shows      func(*tab)
	}{
		{"containers", "#/containers?span=300&q=name:shop", s.showsContainers},
		{"container", "#/container/" + s.containers["worker"].ID + "?span=300", s.showsContainer},
		{"timeline", "#/timeline?span=300", s.showsTimeline},
		{"captures", "#/captures?span=300", s.showsCaptures},
		{"explore", "#/explore?span=300", s.showsExplore},
		{"agent", "#/agent?span=300", s.showsAgent},
	} {
		t.Run(page.name, func(t *testing.T) {
			p := b.open(t, s.url+"/"+page.hash)
			p.wait(shownWithin, has(fmt.Sprintf(`[data-page=%q][data-mode="live"][data-connection="open"]`, page.name)))
			p.isLive()
			for _, theme := range []string{"light", "dark"} {
				p.look(wide, theme)
				page.shows(p)
				picture := p.picture(page.name + "-" + theme)
				require.Greater(t, len(picture), leastPicture, "%s, %s", page.name, theme)
			}
			p.look(phone, "light")
			require.Greater(t, len(p.picture(page.name+"-phone")), leastPicture/3)
			require.LessOrEqual(t, evaluate[int](p, "document.documentElement.scrollWidth"), phone.width, "wider than the screen")
			p.quiet()
		})
	}
	t.Run("opened capture", func(t *testing.T) { s.showsSockets(t, b) })
}

// phone is a small one.
var phone = screen{390, 844}

// isLive waits until the clock of the time bar goes on.
func (p *tab) isLive() {
	p.t.Helper()
	p.wait(shownWithin, has(`[data-timebar][data-live="true"]`))
	const clock = `Number(document.querySelector("[data-timebar]").dataset.to)`
	first := evaluate[float64](p, clock)
	p.wait(shownWithin, fmt.Sprintf("%s >= %f", clock, first+2000))
}

// leaking is like forwarder, but grows by a megabyte every half a second, which makes
// a slope on a plot.
const leaking = `mkfifo /go; cat >/forwarder <<'end'
#!/bin/sh
read x </go
c=$(head -c 1000000 /dev/zero | tr '\0' x)
x=
while :; do x=$x$c; usleep 500000; done
end
chmod +x /forwarder; /forwarder & wait; exec sleep 1000000`

// opens starts the containers, each named as its picture should have it.
func (s *shop) opens() {
	serve := `mkdir -p /www; head -c 60000 /dev/zero >/www/page; httpd -f -p 8080 -h /www`
	for _, c := range []struct {
		name string
		spec testkit.ContainerSpec
	}{
		{"api", testkit.ContainerSpec{Memory: 64 * mib, NanoCPUs: 5e8, Cmd: shell(serve)}},
		{"cache", testkit.ContainerSpec{Memory: 96 * mib, Cmd: shell(`x=$(head -c 3000000 /dev/zero | tr '\0' x); while :; do sleep 5; done`)}},
		{"db", testkit.ContainerSpec{Memory: 128 * mib, Cmd: shell(`while :; do dd if=/dev/zero of=/data bs=64k count=60 conv=fsync 2>/dev/null; sleep 2; done`)}},
		{"search", testkit.ContainerSpec{CPUQuota: 8_000, Cmd: shell(`while :; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1; done`)}},
		{"worker", testkit.ContainerSpec{Memory: 32 * mib, MemorySwap: 32 * mib, Cmd: shell(leaking)}},
		{"import", testkit.ContainerSpec{Cmd: shell(`sleep 20; exit 3`)}},
	} {
		s.start(c.name, c.spec)
	}
	inspected, err := s.containers["api"].Inspect(s.t.Context())
	require.NoError(s.t, err)
	address := ""
	for _, network := range inspected.NetworkSettings.Networks {
		address = network.IPAddress.String()
	}
	s.start("web", testkit.ContainerSpec{Memory: 48 * mib, Cmd: shell(
		`while :; do for i in 1 2 3 4; do wget -q -O /dev/null http://` + address + `:8080/page; done; sleep 1; done`)})
}

// start runs a container of the shop. Its image is the test's, under a name of its own.
func (s *shop) start(name string, spec testkit.ContainerSpec) {
	image, err := s.engine.BusyboxImage(s.t.Context())
	require.NoError(s.t, err)
	spec.Image = "shop/" + name + ":2.4"
	out, err := exec.CommandContext(s.t.Context(), "docker", "-H", s.engine.Host(), "tag", image, spec.Image).CombinedOutput()
	require.NoError(s.t, err, "%s", out)
	spec.Name = "shop-" + name
	spec.Labels = map[string]string{"com.docker.compose.project": "shop", "com.docker.compose.service": name}
	s.containers[name] = run(s.t, s.engine, spec) // they end with their engine
}

func (s *shop) losesWorker() {
	_, err := s.containers["worker"].Exec(s.t.Context(), shell("echo >/go")...)
	require.NoError(s.t, err)
	testkit.Eventually(s.t, soon, func() error {
		known, err := s.container(s.containers["worker"].ID)
		if err == nil && known.State != "broken" {
			err = fmt.Errorf("worker is %s: %w", known.State, errNotYet)
		}
		return err
	})
}

// isCaptured has one capture that is finished, and the one of the worker on its way.
func (s *shop) isCaptured() {
	control(s.t, "capture", "now", "--address", s.url, "--reason", "slow checkout", "--container", s.containers["api"].ID)
	made, err := s.captureOf("slow checkout")
	require.NoError(s.t, err)
	s.file = s.finished(s.t, made.ID)
	_, err = s.captureOf(s.containers["worker"].ID)
	require.NoError(s.t, err)
}

func (s *shop) showsContainers(p *tab) {
	for name, state := range map[string]string{"api": "running", "web": "running", "worker": "broken", "import": "ended"} {
		p.wait(shownWithin, has(fmt.Sprintf(`[data-container=%q][data-state=%q]`, s.containers[name].ID, state)))
	}
	row := func(name, cell string) string {
		return p.text(fmt.Sprintf("[data-container=%q] [data-cell=%q]", s.containers[name].ID, cell))
	}
	require.Contains(p.t, row("api", "name"), "shop-api")
	require.Contains(p.t, row("api", "mem"), "of 64")
	require.Contains(p.t, row("search", "cpu"), "%")
	p.wait(shownWithin, fmt.Sprintf(`/[1-9]/.test(document.querySelector('[data-container="%s"] [data-cell=cpu]').innerText.split("of")[0])`, s.containers["search"].ID))
	p.wait(shownWithin, fmt.Sprintf(`document.querySelector('[data-container="%s"] [data-cell=net]').innerText.includes("↓")`, s.containers["web"].ID))
	require.Contains(p.t, row("import", "up"), "exit")
	require.Contains(p.t, p.text(fmt.Sprintf("[data-trouble=%q]", s.containers["worker"].ID)), "forwarder")
	for state, least := range map[string]int{"running": 5, "broken": 1, "ended": 1} {
		n := evaluate[int](p, fmt.Sprintf("Number(document.querySelector('[data-chip=%s]').dataset.count)", state))
		require.GreaterOrEqual(p.t, n, least, state)
	}
}

func (s *shop) showsContainer(p *tab) {
	p.wait(shownWithin, has(fmt.Sprintf(`[data-container-page=%q][data-state="broken"]`, s.containers["worker"].ID)))
	p.wait(shownWithin, `document.querySelector("[data-verdict]").innerText.includes("forwarder")`)
	require.Equal(p.t, "bad", evaluate[string](p, `document.querySelector("[data-verdict]").dataset.tone`))
	p.hasPanels("cpu", "memory", "psi", "pids")
	p.wait(shownWithin, has(`[data-event="container.oom_kill"]`)+" && "+has(`[data-event="container.degraded"]`))
	for _, tab := range []struct{ name, has, says string }{
		{"processes", `[data-event="container.oom_kill"]`, "forwarder"},
		{"connections", ".hint", "Open sockets are part of a capture"}, // it has none that could end
		{"inspect", "pre", s.containers["worker"].ID},
		{"tags", "dl", "shop-worker"},
		{"events", `[data-event="container.degraded"]`, "forwarder"},
	} {
		p.showsTab(tab.name, tab.has, tab.says)
	}
}

// showsTab opens a tab of a container and waits for what is in it.
func (p *tab) showsTab(name, has, says string) {
	p.t.Helper()
	p.do(click(fmt.Sprintf("[data-tab=%q]", name)))
	p.wait(shownWithin, fmt.Sprintf(`[...document.querySelectorAll('[data-tabpanel=%q] %s')].some((e) => e.innerText.includes(%q))`, name, has, says))
}

// showsSockets opens the capture of api, whose server listens.
func (s *shop) showsSockets(t *testing.T, b *browser) {
	p := b.open(t, openCapture(t, s.file)+"/#/container/"+s.containers["api"].ID)
	p.wait(shownWithin, has(fmt.Sprintf(`[data-mode="capture"] [data-container-page=%q]`, s.containers["api"].ID)))
	p.showsTab("connections", "[data-sockets] .hint", ":8080")
	p.showsTab("processes", "[data-pid]", "httpd")
	p.quiet()
}

// hasPanels waits for plots that have data.
func (p *tab) hasPanels(keys ...string) {
	p.t.Helper()
	for _, key := range keys {
		p.wait(shownWithin, has(fmt.Sprintf(`[data-panel=%q][data-panel-state="ready"] [data-plot] canvas`, key)))
	}
	require.Zero(p.t, evaluate[int](p, `document.querySelectorAll('[data-panel-state="problem"]').length`))
}

func (s *shop) showsTimeline(p *tab) {
	p.wait(shownWithin, fmt.Sprintf(`Number(document.querySelector("[data-lanes]").dataset.count) >= %d`, len(s.containers)))
	p.wait(shownWithin, has("[data-lanes] canvas")+" && "+has(`[data-event="container.oom_kill"]`)+" && "+has(`[data-tick="oom"]`))
	p.hasPanels("host-psi")
}

func (s *shop) showsCaptures(p *tab) {
	p.wait(shownWithin, has(`[data-capture-row][data-capture-state="ready"] [data-download]`))
	p.wait(shownWithin, has(`[data-capture-row] .triggers`))
	rows := evaluate[[]string](p, `[...document.querySelectorAll("[data-capture-row]")].map((row) => row.innerText)`)
	all := strings.Join(rows, "\n")
	for _, part := range []string{"slow checkout", "shop-worker", "forwarder", "shop-import"} {
		require.Contains(p.t, all, part)
	}
}

func (s *shop) showsExplore(p *tab) {
	p.write("[data-query]", "topk(5, container_memory_usage_bytes{docker_compose_project=\"shop\"})")
	p.do(click("[data-run]"))
	p.wait(shownWithin, has(`[data-result="plot"] canvas`)+` && Number(document.querySelector("[data-result]").dataset.series) >= 5`)
	require.Contains(p.t, p.text(`[data-result="plot"]`), "shop-cache")
	p.do(click(`[data-view="table"]`))
	p.wait(shownWithin, has(`[data-result="table"] tbody tr`))
	require.Contains(p.t, p.text(`[data-result="table"]`), "shop-cache")
	p.do(click(`[data-view="plot"]`))
	p.wait(shownWithin, has(`[data-result="plot"] canvas`))
}

func (s *shop) showsAgent(p *tab) {
	p.wait(shownWithin, has(`[data-fact="metrics-series"]`)+" && "+has(`[data-fact="process-cpu"]`))
	p.hasPanels("agent-cpu", "agent-memory")
	stats, err := s.stats()
	require.NoError(p.t, err)
	require.Positive(p.t, stats.Metrics.Series)
	if dropped := p.text(`[data-fact="dropped"]`); !strings.Contains(dropped, "Nothing") {
		p.t.Error(errors.Join(errTooMany, errors.New(dropped)))
	}
	require.Contains(p.t, evaluate[string](p, "document.body.innerText"), "container_cpu")
}
