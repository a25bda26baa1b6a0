package browser_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	clog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// screen is what a reader looks at.
type screen struct {
	width, height int64
	theme         string // light or dark: what the system asks for
}

func desktop(theme string) screen { return screen{1440, 900, theme} }
func phone(theme string) screen   { return screen{390, 844, theme} }

func (s screen) name() string {
	if s.width < 600 {
		return "phone-" + s.theme
	}
	return "desktop-" + s.theme
}

// browser is one chromium. Its pages are tabs of it.
type browser struct {
	ctx   context.Context
	still *testkit.StillNet
}

// newBrowser starts chromium, which ends with the test.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	testkit.NeedCommand(t, "chromium")
	path, err := exec.LookPath("chromium")
	require.NoError(t, err)
	still := testkit.NewStillNet(t)
	// As root its sandbox does not start, and there is no GPU to use. The pages are ours.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()), chromedp.ModifyCmdFunc(still.Enter))
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, _ := chromedp.NewContext(allocator)
	require.NoError(t, chromedp.Do(ctx), "start chromium")
	t.Cleanup(func() {
		limited, done := context.WithTimeout(ctx, within)
		defer done()
		if err := chromedp.Cancel(limited); err != nil {
			t.Errorf("end chromium: %v", err)
		}
	})
	return &browser{ctx, still}
}

// page is a tab. What goes wrong in it fails the test when it ends: errors and
// warnings of the console, which violations of the policy are too, exceptions,
// requests that fail or go elsewhere.
type page struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu     sync.Mutex
	wrongs []string
	isLost bool // while the server is away on purpose
}

// open opens an address on a screen and waits until the view has its first data.
func (b *browser) open(t *testing.T, base, hash string, s screen) *page {
	t.Helper()
	p := b.blank(t, base, s)
	p.do(chromedp.Navigate(base + "/" + hash))
	p.until("the view is ready", `document.documentElement.dataset.ready === "true"`)
	return p
}

// blank opens a tab without a page.
func (b *browser) blank(t *testing.T, base string, s screen) *page {
	t.Helper()
	if address, isWeb := strings.CutPrefix(base, "http://"); isWeb {
		require.NoError(t, b.still.Reach(address))
	}
	ctx, cancel := chromedp.NewContext(b.ctx)
	p := &page{t: t, ctx: ctx, base: base}
	require.NoError(t, chromedp.Listen(ctx, p.watch))
	t.Cleanup(func() {
		for _, wrong := range p.seen() {
			t.Errorf("in the page: %s", wrong)
		}
		cancel()
	})
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	require.NoError(t, err)
	_, err = chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: s.width, Height: s.height, DeviceScaleFactor: 1, Mobile: s.width < 600})
	require.NoError(t, err)
	_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: s.theme}}})
	require.NoError(t, err)
	return p
}

// watch is called by the reader of the browser's messages.
func (p *page) watch(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		p.note("exception", text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			p.note("console", fmt.Sprintf("%s: %s %s", e.Type, e.Args[0].Value, e.Args[0].Description))
		}
	case *clog.EventEntryAdded:
		if e.Entry.Level == clog.EntryLevelError || e.Entry.Level == clog.EntryLevelWarning {
			p.note("log", e.Entry.Text+" "+e.Entry.URL)
		}
	default:
		p.watchNetwork(event)
	}
}

func (p *page) watchNetwork(event any) {
	switch e := event.(type) {
	case *network.EventLoadingFailed:
		// A question that nobody waits for any more is taken back.
		if !e.Canceled {
			p.note("request", e.ErrorText)
		}
	case *network.EventResponseReceived:
		if e.Response.Status >= 400 {
			p.note("answer", fmt.Sprintf("%d to %s", e.Response.Status, e.Response.URL))
		}
	case *network.EventRequestWillBeSent:
		if url := e.Request.URL; !strings.HasPrefix(url, p.base) && !strings.HasPrefix(url, "data:") {
			p.note("request elsewhere", url)
		}
	}
}

func (p *page) note(kind, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.isLost {
		p.wrongs = append(p.wrongs, kind+": "+text)
	}
}

func (p *page) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wrongs
}

// lose says whether failing requests are what the test wants.
func (p *page) lose(isLost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isLost = isLost
}

func (p *page) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, within)
	defer cancel()
	require.NoError(p.t, chromedp.Do(ctx, actions...))
}

// until waits for an expression to become true.
func (p *page) until(what, expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 2*within)
	defer cancel()
	err := chromedp.Do(ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(within)))
	if err != nil {
		p.t.Fatalf("%s: %v; the page reads: %.600s", what, err, ask[string](p, `document.body.innerText`))
	}
}

// ask evaluates an expression.
func ask[T any](p *page, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, within)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(p.t, err, expression)
	return v
}

// press types keys as hands do: the text comes with the key going down, so that a
// page that takes the key for itself gets no text. (chromedp.KeyEvent sends the two
// apart.)
func (p *page) press(keys string) {
	p.t.Helper()
	for _, key := range keys {
		events := kb.Encode(key)
		down, up := events[0], events[len(events)-1]
		if len(events) == 3 {
			down.Text, down.UnmodifiedText = events[1].Text, events[1].UnmodifiedText
		}
		for _, event := range []*input.DispatchKeyEventParams{down, up} {
			_, err := chromedp.Call(p.ctx, input.DispatchKeyEvent, *event)
			require.NoError(p.t, err)
		}
	}
}

func (p *page) click(selector string) { p.do(chromedp.Click(chromedp.CSS(selector))) }

// goTo opens another page of the view as a link does.
func (p *page) goTo(hash string) {
	p.t.Helper()
	ask[bool](p, fmt.Sprintf(`(location.hash = %q, true)`, hash))
}

// audit fails for everything that testdata/audit.js complains about.
func (p *page) audit() {
	p.t.Helper()
	text, err := os.ReadFile("testdata/audit.js")
	require.NoError(p.t, err)
	for _, wrong := range ask[[]string](p, string(text)) {
		p.t.Error(wrong)
	}
}
