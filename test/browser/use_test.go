package browser_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

const (
	isLive = `document.querySelector("[data-timebar]").dataset.live`
	cursor = `Number(document.querySelector("[data-timebar]").dataset.cursor)`
	shown  = `[...document.querySelectorAll("[data-container]")].filter((row) => !row.hidden && row.dataset.container)`
)

// keys are those of the help.
func (r *rig) keys(t *testing.T) {
	p := r.browser.open(t, r.url, "#/containers", desktop("light"))
	p.until("live", isLive+` === "true"`)
	now := ask[float64](p, cursor)
	p.press("[")
	p.until("a step back", isLive+fmt.Sprintf(` === "false" && %s <= %f`, cursor, now-10_000))
	first := ask[float64](p, cursor)
	p.press("[")
	p.until("another", fmt.Sprintf(`%s === %f`, cursor, first-15_000))
	p.press("]")
	p.until("and forth", fmt.Sprintf(`%s === %f`, cursor, first))
	p.until("the rows of that moment", fmt.Sprintf(`document.querySelector('[data-container=%q] [data-cell=cpu]').textContent.includes("%%")`, r.shop.api.id))
	p.press("l")
	p.until("live again", isLive+` === "true"`)

	p.press("t")
	p.until("a field for the moment", `document.activeElement.matches("[data-when]")`)
	p.press("-5m")
	p.press(kb.Enter)
	p.until("five minutes ago", fmt.Sprintf(`!document.querySelector("[data-dialog]") && %s < %f`, cursor, now-250_000))
	p.press("l")
	p.press("?")
	p.until("help", `document.querySelector("[data-dialog=help]").open`)
	p.press(kb.Escape)
	p.until("no help", `!document.querySelector("[data-dialog]")`)
	p.press("/")
	p.until("the filter has the focus", `document.activeElement.matches("[data-search]")`)
	p.press("l[t") // in a field keys are letters
	p.until("the words are in it", `document.querySelector("[data-search]").value === "l[t"`)
	require.Equal(t, "true", ask[string](p, isLive))
	p.press(kb.Escape)
	for key, page := range map[string]string{"t": "timeline", "p": "captures", "e": "explore", "a": "agent", "c": "containers"} {
		p.press("g" + key)
		p.until("page "+page, fmt.Sprintf(`document.querySelector("[data-page]").dataset.page === %q`, page))
	}
}

// timeBar is moved by the mouse and by the arrows, and shows what happened.
func (r *rig) timeBar(t *testing.T) {
	p := r.browser.open(t, r.url, "#/containers", desktop("light"))
	p.until("ticks", `document.querySelectorAll("[data-tick=oom]").length >= 1 && document.querySelectorAll("[data-tick=start]").length >= 1`)
	p.until("the load behind them", `document.querySelector(".track .area path")`)
	p.until("a capture among them, or a worse thing there", `document.querySelectorAll("[data-tick]").length >= 6`)
	p.click(".track") // its middle
	p.until("the middle of the window", fmt.Sprintf(`%s === "false" && Math.abs(%s - (Number(document.querySelector("[data-timebar]").dataset.from) + Number(document.querySelector("[data-timebar]").dataset.to)) / 2) < 5000`, isLive, cursor))
	was := ask[float64](p, cursor)
	ask[bool](p, `(document.querySelector(".track").focus(), true)`)
	p.press(kb.ArrowLeft)
	p.until("a step back", fmt.Sprintf(`%s === %f`, cursor, was-15_000))
	p.press(kb.End)
	p.until("live", isLive+` === "true"`)
	// The address carries the window: a link shows somebody else the same.
	p.click(`[data-range="1h"]`)
	p.until("the address says so", `location.hash.includes("span=3600")`)
	other := r.browser.open(t, r.url, ask[string](p, `location.hash`), desktop("light"))
	other.until("the same window", `document.querySelector("[data-range='1h']").getAttribute("aria-pressed") === "true"`)
}

func (r *rig) filter(t *testing.T) {
	p := r.browser.open(t, r.url, "#/containers", desktop("light"))
	p.until("rows", shown+`.length >= 12`)
	field := func(text string) {
		p.press("/")
		p.until("the filter has the focus", `document.activeElement.matches("[data-search]")`)
		p.press(text)
		p.until("it has the words", fmt.Sprintf(`document.querySelector("[data-search]").value === %q`, text))
	}
	field("state:dead")
	p.until("the dead alone", shown+`.length === 5 && `+shown+`.every((row) => row.dataset.state === "ended")`)
	p.press(kb.Escape)
	field("image:postgres")
	p.until("one", shown+`.length === 1 && document.querySelector("[data-table]").dataset.shown === "1"`)
	p.press(kb.Escape)
	field("cpu>1000 ")
	p.until("none", shown+`.length === 0`)
	p.press(kb.Escape)
	field("colour:red")
	p.until("a sentence on what makes no sense, and all rows", `document.querySelector("#filter-problem").textContent.includes("colour") && `+shown+`.length >= 12`)
	p.press(kb.Escape)
	p.click("[data-chip=broken]")
	p.until("the broken one", shown+`.length === 1 && `+shown+fmt.Sprintf(`[0].dataset.container === %q`, r.shop.worker.id))
	p.click("[data-chip=broken]")
	p.until("all again", shown+`.length >= 12`)
}

// sorting puts the healthy rows in order; broken ones stay first, dead ones last.
func (r *rig) sorting(t *testing.T) {
	p := r.browser.open(t, r.url, "#/containers", desktop("light"))
	p.until("rows", shown+`.length >= 12`)
	bytes := `(text) => { const [n, unit] = text.split(" "); return Number(n) * { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }[unit]; }`
	column := shown + `.sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top).filter((row) => row.dataset.state === "running").map((row) => (` + bytes + `)(row.querySelector("[data-cell=mem] .pair span").textContent))`
	order := func(sign string) string {
		// Equal within what rounding hides.
		return column + `.every((v, i, all) => i === 0 || ` + sign + ` * (all[i - 1] - v) >= -0.02 * v)`
	}
	p.click("[data-sort=mem]")
	p.until("the largest first", order("1"))
	require.Equal(t, "descending", ask[string](p, `document.querySelector("[data-sort=mem]").parentElement.getAttribute("aria-sort")`))
	p.click("[data-sort=mem]")
	p.until("the smallest first", order("-1"))
	// Tab and readers of the screen go from the top down.
	require.True(t, ask[bool](p, shown+`.map((row) => row.getBoundingClientRect().top).every((y, i, all) => i === 0 || all[i - 1] < y)`))
	states := ask[[]string](p, shown+`.sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top).map((row) => row.dataset.state)`)
	require.Equal(t, "broken", states[0])
	require.NotContains(t, strings.TrimRight(strings.Join(states, " "), " "), "ended running")
}

// focus stays on a row that another order moves, and Tab goes on from there.
func (r *rig) focus(t *testing.T) {
	p := r.browser.open(t, r.url, "#/containers", desktop("light"))
	p.until("rows", shown+`.length >= 12`)
	p.click("[data-sort=name]")
	p.until("by name", `document.querySelector("[data-sort=name]").parentElement.getAttribute("aria-sort") === "ascending"`)
	link := fmt.Sprintf(`document.querySelector('[data-container=%q] a')`, r.shop.api.id)
	top := fmt.Sprintf(`document.querySelector('[data-container=%q]').getBoundingClientRect().top`, r.shop.api.id)
	ask[bool](p, `(`+link+`.focus(), true)`)
	for range 2 {
		was := ask[float64](p, top)
		ask[bool](p, `(document.querySelector("[data-sort=name]").click(), true)`)
		p.until("it is elsewhere", fmt.Sprintf(`%s !== %f`, top, was))
		require.True(t, ask[bool](p, `document.activeElement === `+link))
		require.True(t, ask[bool](p, shown+`.map((row) => row.getBoundingClientRect().top).every((y, i, all) => i === 0 || all[i - 1] < y)`), "the order of Tab is that of the rows")
	}
}

// holds: while somebody points at the rows, they stay where they are.
func (r *rig) holds(t *testing.T) {
	p := r.browser.open(t, r.url, "#/containers", desktop("light"))
	p.until("rows", shown+`.length >= 12`)
	p.click("[data-sort=net]")
	p.until("sorted", `document.querySelector("[data-sort=net]").parentElement.getAttribute("aria-sort") === "descending"`)
	p.until("painted", `Number(document.querySelector("[data-timebar]").dataset.cursor) > `+ask[string](p, `document.querySelector("[data-timebar]").dataset.cursor`))
	ask[bool](p, `document.querySelector(".tview").dispatchEvent(new PointerEvent("pointerenter"))`)
	order := shown + `.sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top).map((row) => row.dataset.container).join()`
	was := ask[string](p, order)
	at := ask[float64](p, cursor)
	p.until("eight seconds", fmt.Sprintf(`%s >= %f`, cursor, at+8000))
	require.Equal(t, was, ask[string](p, order))
}

// capture makes one by the button, pins it and takes it away again.
func (r *rig) capture(t *testing.T) {
	p := r.browser.open(t, r.url, "#/captures", desktop("light"))
	p.until("the one of the worker", fmt.Sprintf(`document.querySelector('[data-capture-row=%q] [data-download]')`, r.died.ID))
	before := ask[int](p, `document.querySelectorAll("[data-capture-row]").length`)
	p.press("c")
	p.until("the dialog", `document.querySelector("[data-dialog=capture]").open`)
	p.press("slow checkout")
	p.click("[data-capture-go]")
	p.until("a new one", fmt.Sprintf(`document.querySelectorAll("[data-capture-row]").length === %d && document.querySelector("[data-capture-result]").textContent.includes("is being made")`, before+1))
	p.click("[data-close]")
	row := fmt.Sprintf(`[data-capture-row=%q]`, r.died.ID)
	p.click(row + " [data-pin]")
	p.until("it is pinned", fmt.Sprintf(`document.querySelector('%s [data-pin]').getAttribute("aria-pressed") === "true"`, row))
	p.click(row + " [data-pin]")
	p.until("it is not", fmt.Sprintf(`document.querySelector('%s [data-pin]').getAttribute("aria-pressed") === "false"`, row))
	p.click(row + " [data-show]")
	p.until("its container at its time", isLive+` === "false" && document.querySelector("[data-page]").dataset.page === "container"`)
}

// usable is what can be reached by Tab, and is in sight or can be scrolled there.
const usable = `[...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")].filter((e) => !e.disabled && e.getClientRects().length > 0 && !e.closest("[hidden]"))`

// tab reaches everything, and shows where it is.
func (r *rig) tab(t *testing.T) {
	for _, shot := range r.shop.shots() {
		t.Run(shot.name, func(t *testing.T) {
			// A moment of the past stands still, so that no row goes away meanwhile.
			hash := shot.hash
			p := r.browser.open(t, r.url, hash, desktop("light"))
			p.until("its data are there", shot.ready)
			p.press("[")
			p.until("not live", isLive+` === "false"`)
			p.until("quiet", `document.querySelectorAll("[data-panel-state=loading]").length === 0 && (!document.querySelector("[data-moment]") || Number(document.querySelector("[data-moment]").dataset.moment) === Math.round(`+cursor+` / 1000))`)
			ask[bool](p, `(document.activeElement.blur(), `+usable+`.forEach((e) => (e.wasReached = false)), true)`)
			most := ask[int](p, usable+`.length`) + 20 // rows come and go, and the body counts too
			for range most {
				p.press(kb.Tab)
				wrong := ask[string](p, `(() => {
					const e = document.activeElement;
					if (!e || e === document.body) return "";
					e.wasReached = true;
					const style = getComputedStyle(e);
					const isSeen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
					return isSeen || e.id === "main" || e.classList.contains("tview") ? "" : e.outerHTML.slice(0, 120);
				})()`)
				if wrong != "" {
					t.Errorf("the focus cannot be seen on %s", wrong)
				}
			}
			for _, missed := range ask[[]string](p, usable+`.filter((e) => !e.wasReached).map((e) => e.outerHTML.slice(0, 120))`) {
				t.Errorf("Tab does not reach %s", missed)
			}
		})
	}
}
