package browser_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

const (
	manyContainers = 200 // as the issue asks
	// measured is how many updates are looked at: enough for the 99th percentile of
	// 1,200 frames to be of twelve.
	measured = 20

	// tableBudget is what the table may take of a frame in the median, in milliseconds: a
	// frame is 16.7. The median stays when others have the processor now and then, which
	// the time between frames does not.
	tableBudget = 16.0

	// The budget of one update in CPU time of the page's main thread, in milliseconds:
	// its script, and all work with layout, painting and the frames between. It is
	// twice what was measured on a busy machine (doc.go of package web).
	scriptBudget = 25.0
	taskBudget   = 160.0
)

// recordFrames notes the time between frames, long tasks and the script of each
// update from now on.
const recordFrames = `(() => {
	const seen = (window.seen = { frames: [], long: [], script: [] });
	let last = performance.now();
	const frame = (now) => {
		seen.frames.push(now - last);
		last = now;
		requestAnimationFrame(frame);
	};
	requestAnimationFrame(frame);
	new PerformanceObserver((list) => list.getEntries().forEach((e) => seen.long.push(e.duration))).observe({ type: "longtask" });
	new MutationObserver(() => seen.script.push(Number(document.documentElement.dataset.frameMs))).observe(document.documentElement, { attributeFilter: ["data-frame-ms"] });
	return true;
})()`

type frames struct {
	Frames, Long, Script []float64
}

// TestFrames measures the Containers page with 200 containers that all change every
// second, once as it opens and once scrolled and sorted by another column.
func TestFrames(t *testing.T) {
	b := newBrowser(t)
	// The sparklines are full after two minutes.
	w := crowd(time.Now().Truncate(time.Second).Add(-past*time.Second), manyContainers)
	s := newStack(t, w)
	s.second.Store(past - 130)
	s.run(t)
	s.serve(t)
	t.Cleanup(func() { s.stop(t) })
	for _, size := range []screen{desktop("light"), phone("dark")} {
		t.Run(size.name(), func(t *testing.T) {
			p := b.open(t, s.url, "#/containers", size)
			p.until("all containers", `document.querySelector("[data-table]").dataset.total === "200"`)
			p.until("the live values", `document.querySelector("[data-connection]").dataset.connection === "open"`)
			measure(t, p, "as opened")
			p.click("[data-sort=mem]")
			ask[bool](p, `(document.querySelector(".tview").scrollTo(0, 2000), true)`)
			p.until("scrolled", `document.querySelector(".tview").scrollTop === 2000`)
			measure(t, p, "sorted and scrolled")
		})
	}
}

func measure(t *testing.T, p *page, what string) {
	t.Helper()
	_, err := chromedp.Call(p.ctx, performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks})
	require.NoError(t, err)
	ask[bool](p, recordFrames)
	from, before := ask[float64](p, cursor), cpu(t, p)
	p.until("the updates", fmt.Sprintf(`%s >= %f`, cursor, from+measured*1000))
	after, updates := cpu(t, p), (ask[float64](p, cursor)-from)/1000
	seen := ask[frames](p, `({ Frames: seen.frames.slice(1), Long: seen.long, Script: seen.script })`)
	require.GreaterOrEqual(t, len(seen.Script), measured-2, "updates that were painted")
	script := 1000 * (after["ScriptDuration"] - before["ScriptDuration"]) / updates
	task := 1000 * (after["TaskDuration"] - before["TaskDuration"]) / updates
	layout := 1000 * (after["LayoutDuration"] + after["RecalcStyleDuration"] - before["LayoutDuration"] - before["RecalcStyleDuration"]) / updates
	t.Logf("%s: %.0f updates; frames: median %.1f ms, p95 %.1f, p99 %.1f, longest %.1f (%d frames); long tasks: %d, longest %.0f ms; table: median %.1f ms, longest %.1f; per update CPU: script %.1f ms, style and layout %.1f, all %.1f",
		what, updates, share(seen.Frames, 0.5), share(seen.Frames, 0.95), share(seen.Frames, 0.99), share(seen.Frames, 1), len(seen.Frames),
		len(seen.Long), share(seen.Long, 1), share(seen.Script, 0.5), share(seen.Script, 1), script, layout, task)
	if table := share(seen.Script, 0.5); table > tableBudget {
		t.Errorf("the table takes %.1f ms of a frame in the median of %d updates, the budget is %.0f", table, len(seen.Script), tableBudget)
	}
	if script > scriptBudget || task > taskBudget {
		t.Errorf("one update costs %.1f ms of script and %.1f ms in all, the budget is %.0f and %.0f", script, task, scriptBudget, taskBudget)
	}
}

// cpu is what the main thread of the page has used, in seconds by kind.
func cpu(t *testing.T, p *page) map[string]float64 {
	t.Helper()
	result, err := chromedp.Call(p.ctx, performance.GetMetrics, cdp.Empty{})
	require.NoError(t, err)
	all := map[string]float64{}
	for _, m := range result.Metrics {
		all[m.Name] = m.Value
	}
	return all
}

// share is a percentile: the value that this share of the others does not exceed.
func share(values []float64, part float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.SortedFunc(slices.Values(values), cmp.Compare[float64])
	return sorted[min(len(sorted)-1, int(part*float64(len(sorted))))]
}
