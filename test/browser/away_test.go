package browser_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/serve"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// outage: a server that goes away is told at once, and found again.
func (r *rig) outage(t *testing.T) {
	p := r.browser.open(t, r.url, "#/containers", desktop("light"))
	p.until("open", `document.querySelector("[data-connection]").dataset.connection === "open"`)
	p.until("rows", shown+`.length >= 12`)
	// Another page stands still, and asks for what the recorder cannot answer now.
	still := r.browser.open(t, r.url, "#/container/"+r.shop.worker.id, desktop("light"))
	still.until("plots", `document.querySelectorAll("[data-panel-state=ready]").length >= 9`)
	still.press("[")
	still.until("not live", isLive+` === "false"`)
	p.lose(true)
	still.lose(true)
	r.stop(t)
	still.click(`[data-range="5m"]`)
	still.until("it says so", `document.querySelector("[data-panel-state=problem]")`)
	p.until("a banner", `document.querySelector("[data-banner=lost]")?.innerText.includes("No connection to the recorder since")`)
	p.until("the light is red", `document.querySelector("[data-health]").dataset.health === "bad"`)
	require.True(t, ask[bool](p, `document.querySelector("[data-table]").classList.contains("is-stale")`), "old rows do not look like new ones")
	require.GreaterOrEqual(t, ask[int](p, shown+`.length`), 12, "what was known stays")
	r.picture(p, "outage")
	clock := ask[string](p, `document.querySelector("[data-timebar]").dataset.cursor`)
	r.serve(t)
	p.until("no banner", `!document.querySelector("[data-banner]") && document.querySelector("[data-connection]").dataset.connection === "open"`)
	still.until("its questions are answered", `document.querySelectorAll("[data-panel-state=ready]").length >= 9 && !document.querySelector("[data-panel-state=problem]")`)
	p.lose(false)
	still.lose(false)
	p.until("the clock goes on", fmt.Sprintf(`Number(document.querySelector("[data-timebar]").dataset.cursor) > %s + 1000`, clock))
	require.False(t, ask[bool](p, `document.querySelector("[data-table]").classList.contains("is-stale")`))
}

// half: a part of the page that does not come is asked for again.
func (r *rig) half(t *testing.T) {
	var asked atomic.Int32
	options := r.options("127.0.0.1:0")
	options.Web = http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/js/story.mjs" && asked.Add(1) == 1 {
			panic(http.ErrAbortHandler) // the connection ends without an answer
		}
		r.view.ServeHTTP(w, request)
	})
	server, err := api.New(options)
	require.NoError(t, err)
	require.NoError(t, server.Start(t.Context()))
	other := &stack{server: server, url: server.Addresses()[0]}
	t.Cleanup(func() { other.stop(t) })
	p := r.browser.blank(t, other.url, desktop("light"))
	p.lose(true)
	p.do(chromedp.Navigate(other.url + "/"))
	p.until("the view is ready", `document.documentElement.dataset.ready === "true"`)
	require.Equal(t, int32(2), asked.Load())
	require.True(t, ask[bool](p, `sessionStorage.getItem("tallyman.loads") === null`), "the next time is counted anew")
}

// token: the dialog that asks for it stays, as there is nothing behind it.
func (r *rig) token(t *testing.T) {
	const token = "correct-horse-battery"
	options := r.options("127.0.0.1:0")
	options.Token = token
	server, err := api.New(options)
	require.NoError(t, err)
	require.NoError(t, server.Start(t.Context()))
	other := &stack{server: server, url: server.Addresses()[0]}
	t.Cleanup(func() { other.stop(t) })
	p := r.browser.blank(t, other.url, desktop("light"))
	p.lose(true) // it is refused, and says so on the console
	p.do(chromedp.Navigate(other.url + "/"))
	const isOpen = `document.querySelector("[data-dialog=token]")?.open`
	p.until("the dialog", isOpen)
	const hasFocus = `document.activeElement.type === "password"`
	// A browser asks the page before it closes a dialog once after each click.
	p.click("[data-dialog=token] input")
	for range 3 {
		p.press(kb.Escape)
		p.until("it is still there", isOpen)
		p.until("and has the focus", hasFocus)
	}
	p.press(token)
	p.press(kb.Enter)
	// The page is loaded anew, and what is asked in between has no answer.
	testkit.Eventually(t, within, func() error {
		isThere, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool](`!document.querySelector("[data-dialog]") && document.querySelector("[data-connection]")?.dataset.connection === "open"`))
		if err == nil && !isThere {
			err = errors.New("the page is not there yet")
		}
		return err
	})
}

// unpack takes a capture apart as tallymanctl does.
func (r *rig) unpack(t *testing.T) (string, *bundle.Manifest) {
	t.Helper()
	path, err := r.captures.Shelf().Path(r.died.ID)
	require.NoError(t, err)
	reader, err := bundle.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()
	dir := t.TempDir()
	require.NoError(t, reader.Extract(dir, func(string) bool { return true }))
	return dir, reader.Manifest
}

// opened shows a capture with the same view: its window, and no more.
func (r *rig) opened(t *testing.T) {
	dir, manifest := r.unpack(t)
	o, err := serve.OpenCapture(dir, manifest)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, o.Close()) })
	options := o.Options
	options.Endpoints, options.Web = []string{"127.0.0.1:0"}, r.view
	server, err := api.New(options)
	require.NoError(t, err)
	require.NoError(t, server.Start(t.Context()))
	other := &stack{server: server, url: server.Addresses()[0]}
	t.Cleanup(func() { other.stop(t) })

	p := r.browser.open(t, other.url, "", desktop("light"))
	p.until("what this is", `document.querySelector("[data-banner=capture]")?.innerText.includes("Capture of host-7")`)
	require.Equal(t, "off", ask[string](p, `document.querySelector("[data-connection]").dataset.connection`))
	require.True(t, ask[bool](p, `document.querySelector("[data-capture]") === null`), "nothing can be captured here")
	p.until("the containers of that time", shown+`.length >= 4`)
	// The capture is of both kills, and the first is what it is named by.
	gravest := bundle.Gravest(manifest.Triggers)
	require.Equal(t, r.shop.batch.id, gravest.Container.ID)
	p.until("the moment of the gravest trigger", fmt.Sprintf(`%s === %d`, cursor, gravest.At.UnixMilli()))
	p.until("the worker still ran at that moment", fmt.Sprintf(`document.querySelector('[data-container=%q]').dataset.state === "running"`, r.shop.worker.id))
	p.press("l")
	p.until("it is broken at the end, and comes first", shown+`[0].dataset.state === "broken"`)
	p.until("their values", `document.querySelectorAll("[data-cell=mem] .pair span").length > 0 && [...document.querySelectorAll("[data-state=running] [data-cell=mem] .pair span:first-child")].every((e) => e.textContent.includes("iB"))`)
	require.True(t, ask[bool](p, `[...document.querySelectorAll("[data-cell=event] .under")].every((e) => !e.textContent.startsWith("-"))`), "nothing that has not happened yet")
	r.picture(p, "opened-containers")
	p.goTo("#/container/" + r.shop.worker.id)
	p.until("its last minutes", `document.querySelectorAll("[data-panel-state=ready]").length >= 8`)
	p.until("the verdict", `document.querySelector("[data-verdict]")?.textContent.includes("OOM kill of “worker”")`)
	pid := r.shop.pid(r.shop.worker)
	for _, tab := range []struct{ name, has, says string }{
		{"processes", fmt.Sprintf(`[data-pid="%d"]`, pid), "worker --queue"},
		{"connections", fmt.Sprintf(`[data-sockets="%d"]`, pid), "Listening: 0.0.0.0:8080. ESTABLISHED 1, LISTEN 1"},
		{"connections", fmt.Sprintf(`[data-sockets="%d"] tbody tr`, pid), "10.0.0.3:4711"},
		{"inspect", "details summary", r.shop.worker.id[:12]},
		{"tags", "dl", "shop-worker-1"},
		{"events", `[data-event="container.oom_kill"]`, "40988"},
	} {
		p.click("[data-tab=" + tab.name + "]")
		p.until("tab "+tab.name, fmt.Sprintf(`document.querySelector('[data-tabpanel=%s] %s')?.textContent.includes(%q)`, tab.name, tab.has, tab.says))
	}
	r.picture(p, "opened-container")
	p.goTo("#/timeline")
	p.until("lanes", `Number(document.querySelector("[data-lanes]")?.dataset.count) >= 4`)
	p.goTo("#/agent")
	p.until("what the agent said", `document.querySelector(".page.agent")`)
	p.audit()
}

// report opens report.html alone, from a file.
func (r *rig) report(t *testing.T) {
	dir, _ := r.unpack(t)
	path := filepath.Join(dir, "report.html")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, strings.ToLower(string(text)), "src=\"http")
	p := r.browser.blank(t, "file://"+path, desktop("light"))
	p.do(chromedp.Navigate("file://" + path))
	p.until("plots that can be zoomed", `document.documentElement.dataset.ready === "true" && document.querySelectorAll("[data-plot]").length >= 3`)
	r.picture(p, "report")
}
