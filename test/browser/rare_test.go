package browser_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rarely is the collection interval that the documents advise where there is little
// room, and by default that of connections; minutely is how often OpenTelemetry's SDKs
// send by default. Both in seconds.
const rarely, minutely = 10, 60

// TestRareSamples looks at a host whose samples come every ten seconds: plots and rows
// that show what happens per second are as full as with one a second.
func TestRareSamples(t *testing.T) {
	b := newBrowser(t)
	shop := newShop(time.Now().Truncate(time.Second).Add(-past * time.Second))
	shop.every = rarely
	send := shop.api.app
	shop.api.app = func(p *points, second int) {
		if second%minutely == 0 {
			send(p, second)
		}
	}
	s := newStack(t, shop.world)
	s.run(t)
	s.serve(t)
	t.Cleanup(func() { s.stop(t) })
	for _, span := range []int{300, 900} {
		t.Run(fmt.Sprint(span), func(t *testing.T) {
			p := b.open(t, s.url, fmt.Sprintf("#/container/%s?span=%d", shop.api.id, span), desktop("light"))
			for panel, line := range map[string]string{
				"psi": "memory", "throttled": "throttled", "io": "write", "net": "receive", "faults": "minor",
				"conns": "closed/s", "own-shop_orders_total": "per second",
			} {
				p.until(panel, fmt.Sprintf(`document.querySelector('[data-panel=%q]')?.dataset.panelState === "ready"`, panel))
				p.until("a value of "+line, fmt.Sprintf(`[...document.querySelectorAll('[data-panel=%q] .values li')].some((l) => l.querySelector(".name")?.textContent === %q && /\d/.test(l.querySelector("b").textContent))`, panel, line))
			}
		})
	}
	t.Run("table of the past", func(t *testing.T) {
		p := b.open(t, s.url, "#/containers", desktop("light"))
		p.until("rows", shown+`.length >= 12`)
		p.press("[")
		p.until("the values of that moment", `Number(document.querySelector("[data-moment]").dataset.moment) === Math.round(`+cursor+` / 1000)`)
		row := fmt.Sprintf(`document.querySelector('[data-container=%q]')`, shop.api.id)
		p.until("what it receives", row+`.querySelector("[data-cell=net]").textContent.startsWith("↓")`)
		for _, cell := range []string{"cpu", "mem", "throttled", "io", "net", "conns", "pids"} {
			require.NotContains(t, ask[string](p, row+fmt.Sprintf(`.querySelector("[data-cell=%s]").textContent`, cell)), "–", cell)
		}
		require.NotContains(t, ask[string](p, row+`.querySelector("[data-cell=psi]").title`), "–")
	})
}
