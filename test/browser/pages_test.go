package browser_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
)

// shot is a page of the view, with what is there once it has its data.
type shot struct{ name, hash, ready string }

// shots are all pages, the container page with the one that lacks its worker.
func (s *shop) shots() []shot {
	return []shot{
		{"containers", "#/containers", `document.querySelectorAll("[data-container]").length >= 12 && document.querySelector("[data-trouble]")`},
		{"container", "#/container/" + s.worker.id, `document.querySelectorAll("[data-panel-state=ready]").length >= 9 && document.querySelector("[data-verdict]").dataset.tone === "bad" && document.querySelector("[data-event]")`},
		{"application", "#/container/" + s.api.id, `document.querySelectorAll("[data-panel-state=ready]").length >= 11 && document.querySelectorAll("[data-incarnation]").length === 2`},
		{"timeline", "#/timeline", `document.querySelector("[data-lanes]").dataset.count === "14" && document.querySelector("[data-panel=host-psi]").dataset.panelState === "ready" && document.querySelectorAll("[data-event]").length > 10`},
		{"captures", "#/captures", `document.querySelectorAll("[data-capture-row][data-capture-state=ready]").length >= 2`},
		{"explore", "#/explore?expr=topk(5, container_cpu_usage)", `document.querySelector("[data-result=plot]")`},
		{"agent", "#/agent", `document.querySelector("[data-fact=metrics-series]") && document.querySelectorAll("[data-panel-state=ready]").length === 2`},
	}
}

// rig is what the tests of the view share: a shop that has lived for some minutes.
type rig struct {
	*stack
	shop    *shop
	browser *browser
	// died is the capture of the worker's end.
	died api.Capture
}

func newRig(t *testing.T) *rig {
	t.Helper()
	b := newBrowser(t)
	s := newShop(time.Now().Truncate(time.Second).Add(-past * time.Second))
	r := &rig{stack: newStack(t, s.world), shop: s, browser: b}
	r.run(t)
	r.serve(t)
	t.Cleanup(func() { r.stop(t) })
	r.died = r.ready(t, s.worker.id)
	return r
}

func TestView(t *testing.T) {
	r := newRig(t)
	t.Run("pages", r.pages)
	t.Run("live", r.values)
	t.Run("keys", r.keys)
	t.Run("time bar", r.timeBar)
	t.Run("filter", r.filter)
	t.Run("sorting", r.sorting)
	t.Run("focus", r.focus)
	t.Run("order holds", r.holds)
	t.Run("the dead stay", r.dead)
	t.Run("captures", r.capture)
	t.Run("theme", r.theme)
	t.Run("tab", r.tab)
	t.Run("opened capture", r.opened)
	t.Run("report", r.report)
	t.Run("half a page", r.half)
	t.Run("token", r.token)
	t.Run("outage", r.outage) // last: it takes the server away
}

// pages opens every page on every screen, and looks at it with care.
func (r *rig) pages(t *testing.T) {
	for _, s := range []screen{desktop("light"), desktop("dark"), phone("light"), phone("dark")} {
		for _, shot := range r.shop.shots() {
			t.Run(s.name()+"/"+shot.name, func(t *testing.T) {
				p := r.browser.open(t, r.url, shot.hash, s)
				p.until("its data are there", shot.ready)
				ground := ask[string](p, `getComputedStyle(document.body).backgroundColor`)
				if want := map[string]string{"light": "rgb(243, 245, 247)", "dark": "rgb(15, 20, 25)"}[s.theme]; ground != want {
					t.Errorf("the ground is %s, in the %s theme it is %s", ground, s.theme, want)
				}
				p.audit()
				r.picture(p, shot.name+"-"+s.name())
			})
		}
	}
}

// picture writes what is to be seen, if somebody wants to see it.
func (r *rig) picture(p *page, name string) {
	dir := os.Getenv("TALLYMAN_SHOTS")
	if dir == "" {
		return
	}
	require.NoError(p.t, os.MkdirAll(dir, 0o755))
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644))
}

// values come with every second, in the table, the totals and the time bar.
func (r *rig) values(t *testing.T) {
	p := r.browser.open(t, r.url, "#/containers", desktop("light"))
	p.until("the stream is open", `document.querySelector("[data-connection]").dataset.connection === "open"`)
	p.until("rows", `document.querySelectorAll("[data-container]").length >= 12`)
	row := fmt.Sprintf(`[data-container=%q]`, r.shop.api.id)
	for what, expression := range map[string]string{
		"CPU of a container": fmt.Sprintf(`document.querySelector('%s [data-cell=cpu]').textContent`, row),
		"totals":             `document.querySelector("[data-totals]").textContent`,
		"clock":              `document.querySelector("[data-timebar]").dataset.cursor`,
	} {
		was := ask[string](p, expression)
		p.until(what+" has moved", fmt.Sprintf(`%s !== %q`, expression, was))
	}
	// A sparkline moves too, although its numbers may not.
	pixels := fmt.Sprintf(`document.querySelector('%s canvas').toDataURL()`, row)
	was := ask[string](p, pixels)
	p.until("the sparkline has moved", fmt.Sprintf(`%s !== %q`, pixels, was))
	// The same nodes all the time: rows are changed, not made anew.
	ask[bool](p, fmt.Sprintf(`(document.querySelector('%s').isMine = true)`, row))
	clock := ask[string](p, `document.querySelector("[data-timebar]").dataset.cursor`)
	p.until("two seconds later", fmt.Sprintf(`Number(document.querySelector("[data-timebar]").dataset.cursor) >= %s + 2000`, clock))
	require.True(t, ask[bool](p, fmt.Sprintf(`document.querySelector('%s').isMine === true`, row)))
}

// dead containers stay as long as the window has them, with their last values.
func (r *rig) dead(t *testing.T) {
	p := r.browser.open(t, r.url, "#/containers", desktop("light"))
	row := fmt.Sprintf(`document.querySelector('[data-container=%q]')`, r.shop.batch.id)
	p.until("batch is there", row+` !== null`)
	p.until("its last memory", row+`.querySelector("[data-cell=mem]").textContent.startsWith("25")`)
	require.Equal(t, "ended", ask[string](p, row+`.dataset.state`))
	require.Contains(t, ask[string](p, row+`.querySelector("[data-cell=up]").textContent`), "OOM")
	require.Contains(t, ask[string](p, `document.querySelector("[data-trouble]").textContent`), "shop-worker-1", "the worst comes first")
	p.click(`[data-range="5m"]`)
	p.until("it is out of the last five minutes", fmt.Sprintf(`document.querySelectorAll('[data-container=%q]').length === 0`, r.shop.batch.id))
	p.click(`[data-range="1h"]`)
	p.until("it is back", row+` !== null`)
}

// theme follows the switch once somebody uses it.
func (r *rig) theme(t *testing.T) {
	p := r.browser.open(t, r.url, "#/agent", desktop("light"))
	ground := `getComputedStyle(document.body).backgroundColor`
	was := ask[string](p, ground)
	p.click("[data-theme-button]")
	p.click("[data-theme-button]")
	p.until("dark by the switch", fmt.Sprintf(`%s !== %q && document.documentElement.dataset.theme === "dark"`, ground, was))
	p.click("[data-theme-button]")
	p.until("as the system again", fmt.Sprintf(`%s === %q && !("theme" in document.documentElement.dataset)`, ground, was))
}
