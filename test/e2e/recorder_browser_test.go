package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// lookEvery is how often a page is looked at: as often as a person would notice.
	lookEvery = 50 * time.Millisecond
	// askAgain is how long one look lasts: those of a page that is gone do not end.
	askAgain = 2 * time.Second
	// shownWithin is for what a page shows once it has its answers.
	shownWithin = 30 * time.Second
	// closeWithin bounds the end of the browser.
	closeWithin = 20 * time.Second
)

// browser is a chromium of the test's own.
type browser struct {
	ctx   context.Context
	still *testkit.StillNet
}

// startBrowser starts it with the clock of UTC, so that what it shows can be compared.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	testkit.NeedCommand(t, "chromium")
	path, err := exec.LookPath("chromium")
	require.NoError(t, err)
	still := testkit.NewStillNet(t)
	// Not /tmp, which may be small, and not shared: what is in it ends with the test.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()), chromedp.Env("TZ=UTC"), chromedp.WindowSize(wide.width, wide.height),
		chromedp.ModifyCmdFunc(still.Enter))
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		bounded, free := context.WithTimeout(ctx, closeWithin)
		defer free()
		if err := chromedp.Cancel(bounded); err != nil {
			t.Logf("close the browser: %v", err)
		}
		cancel()
		end()
	})
	require.NoError(t, chromedp.Do(ctx)) // starts it, and binds its life to ctx
	return &browser{ctx, still}
}

// tab is a page that is looked at, and what went wrong in it.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string
}

// tab opens an empty one, until the test ends: a browser has six connections for each
// host, and a page of the recorder keeps one.
func (b *browser) tab(t *testing.T) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	p := &tab{t: t, ctx: ctx}
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("close a tab: %v", err)
		}
		cancel()
	})
	require.NoError(t, chromedp.Listen(ctx, p.listen))
	return p
}

// open opens the recorder's view, and waits until it has its first answers.
func (b *browser) open(t *testing.T, address string) *tab {
	t.Helper()
	p := b.tab(t)
	at, err := url.Parse(address)
	require.NoError(t, err)
	require.NoError(t, b.still.Reach(at.Host))
	p.navigate(address)
	p.wait(shownWithin, `document.documentElement.dataset.ready === "true"`)
	return p
}

// listen notes what a person would find in the console: errors and warnings of
// scripts, refusals of the policy, and requests that were not answered well.
func (p *tab) listen(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		p.note("exception: " + text)
	case *runtime.EventConsoleAPICalled:
		var words []string
		for _, arg := range e.Args {
			words = append(words, string(arg.Value)+arg.Description)
		}
		p.note(fmt.Sprintf("console.%s: %s", e.Type, strings.Join(words, " ")))
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.EntryLevelError || e.Entry.Level == cdplog.EntryLevelWarning {
			p.note(fmt.Sprintf("%s %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL))
		}
	case *network.EventLoadingFailed:
		// What the page gave up itself, because the reader had moved on, is fine.
		if !e.Canceled && e.ErrorText != "net::ERR_ABORTED" {
			p.note(fmt.Sprintf("request: %s %s", e.ErrorText, e.BlockedReason))
		}
	case *network.EventResponseReceived:
		if e.Response.Status >= 400 {
			p.note(fmt.Sprintf("request: %d %s", e.Response.Status, e.Response.URL))
		}
	}
}

func (p *tab) note(problem string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, problem)
}

// quiet fails the test if anything was noted so far.
func (p *tab) quiet() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Empty(p.t, p.problems, "the page complains")
}

// do bounds actions.
func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, shownWithin)
	defer cancel()
	require.NoError(p.t, chromedp.Do(ctx, steps...))
}

func (p *tab) navigate(address string) {
	p.t.Helper()
	// A tab lives as long as the context of its first action.
	require.NoError(p.t, chromedp.Do(p.ctx))
	p.do(chromedp.Navigate(address))
}

// show goes to another page of the view without loading it anew.
func (p *tab) show(hash string) {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void]("void (location.hash = " + quoted(hash) + ")"))
}

// wait waits until an expression of JavaScript is true, also across a page that is
// loaded anew. A failure says what the page shows instead.
func (p *tab) wait(within time.Duration, condition string) {
	p.t.Helper()
	err := p.becomes(within, condition)
	if err == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	shown, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string]("document.body.innerText"))
	p.t.Fatalf("not within %v: %s: %v\nproblems: %q\nthe page shows:\n%.4000s", within, condition, err, p.problems, shown)
}

func (p *tab) becomes(within time.Duration, condition string) error {
	ctx, cancel := context.WithTimeout(p.ctx, within)
	defer cancel()
	return testkit.Poll(ctx, func() error {
		return chromedp.Do(ctx, chromedp.Poll[chromedp.Void](condition,
			chromedp.WithPollingInterval(lookEvery), chromedp.WithPollingTimeout(askAgain)))
	})
}

// text is that of the first node of a selector, without what is hidden; none is "".
func (p *tab) text(selector string) string {
	p.t.Helper()
	return evaluate[string](p, "(document.querySelector("+quoted(selector)+") || {innerText: ''}).innerText")
}

func evaluate[T any](p *tab, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, shownWithin)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(p.t, err, expression)
	return value
}

// quoted is a text as JavaScript has it.
func quoted(text string) string {
	out, err := json.Marshal(text)
	if err != nil {
		return `""` // a string always has a form in JSON
	}
	return string(out)
}

// has is the condition that a node is there whose attribute, if one is named, has a
// value.
func has(selector string) string { return "document.querySelector(" + quoted(selector) + ") !== null" }

// screen is a size in CSS pixels.
type screen struct{ width, height int }

// wide is a laptop, and what the pictures of the README are.
var wide = screen{1440, 900}

// look sets size and theme.
func (p *tab) look(size screen, theme string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, shownWithin)
	defer cancel()
	_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: int64(size.width), Height: int64(size.height), DeviceScaleFactor: 1,
	})
	require.NoError(p.t, err)
	_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}},
	})
	require.NoError(p.t, err)
	// Two frames: one to lay out, one to paint what observes the size.
	p.do(chromedp.Evaluate[chromedp.Void](
		"new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))", chromedp.EvalAwaitPromise))
}

// screenshotsEnv names a folder for pictures of all pages.
const screenshotsEnv = "TALLYMAN_SCREENSHOTS"

// picture takes a screenshot, and keeps it where the environment says.
func (p *tab) picture(name string) []byte {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, shownWithin)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	require.NoError(p.t, err)
	if dir := os.Getenv(screenshotsEnv); dir != "" {
		require.NoError(p.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644))
	}
	return png
}

// click presses a node as scripts do: also where something else is in front of it.
func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void]("void document.querySelector(" + quoted(selector) + ").click()")
}

// write puts a text into a field as if it was typed.
func (p *tab) write(selector, text string) {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void]("(() => { const field = document.querySelector(" + quoted(selector) + ");" +
		" field.value = " + quoted(text) + "; field.dispatchEvent(new Event('input', {bubbles: true})); })()"))
}
