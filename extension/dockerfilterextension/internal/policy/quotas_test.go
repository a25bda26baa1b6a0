package policy

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clock moves only when a test moves it.
type clock struct{ at time.Time }

func (c *clock) now() time.Time          { return c.at }
func (c *clock) advance(d time.Duration) { c.at = c.at.Add(d) }

func newQuotaPolicy(t testing.TB, l LimitsConfig) (*Policy, *clock) {
	t.Helper()
	cfg := DefaultConfig()
	l.UpstreamConcurrency = 1
	cfg.Limits = l
	c := &clock{at: time.Unix(1_800_000_000, 0)}
	p, err := New(cfg, Options{Catalog: someContainers(), Now: c.now})
	require.NoError(t, err)
	return p, c
}

// take asks n times and returns how often the answer was yes.
func take(c *Client, n int) (yes int, last Decision) {
	for range n {
		if last = c.Request(); last.Allow {
			yes++
		}
	}
	return yes, last
}

func TestRate(t *testing.T) {
	p, clock := newQuotaPolicy(t, LimitsConfig{RPS: 0.5, Burst: 3, Streams: 1})
	a := p.Client(inContainer("a"))
	yes, last := take(a, 5)
	require.Equal(t, 3, yes)
	require.Equal(t, Decision{Status: 429, Reason: ReasonRate, Message: "too many requests", RetryAfter: 2}, last)

	// Another connection, another uid: still the same container.
	again := inContainer("a")
	again.PID, again.UID = 99, 1234
	yes, _ = take(p.Client(again), 1)
	require.Zero(t, yes)
	yes, _ = take(p.Client(inContainer("b")), 5)
	require.Equal(t, 3, yes, "others have their own")

	clock.advance(1500 * time.Millisecond)
	_, last = take(a, 1)
	require.Equal(t, 1, last.RetryAfter)
	clock.advance(500 * time.Millisecond)
	yes, _ = take(a, 5)
	require.Equal(t, 1, yes, "the refused requests have cost nothing")
}

func TestWhoSharesAQuota(t *testing.T) {
	p, _ := newQuotaPolicy(t, LimitsConfig{RPS: 1, Burst: 1, Streams: 1})
	f := func(first, second Identity, shared bool) {
		t.Helper()
		p.quotas = newQuotas(p.quotas.limits, p.quotas.now)
		require.True(t, p.Client(first).Request().Allow)
		require.Equal(t, !shared, p.Client(second).Request().Allow)
	}
	f(Identity{Kind: KindHost, UID: 1, PID: 5}, Identity{Kind: KindHost, UID: 1, PID: 6}, true)
	f(Identity{Kind: KindHost, UID: 1}, Identity{Kind: KindHost, UID: 2}, false)
	f(Identity{Kind: KindHost, UID: 0}, inContainer("a"), false)
	f(Identity{UID: 1, Reason: ReasonGone}, Identity{UID: 2, Reason: ReasonNamespace}, true)
	f(Identity{}, Identity{Kind: KindHost}, false)
}

func TestAgentHasNoQuota(t *testing.T) {
	p, _ := newQuotaPolicy(t, LimitsConfig{RPS: 1, Burst: 1, Streams: 1})
	agent := p.Client(Identity{Kind: KindAgent})
	yes, _ := take(agent, 100)
	require.Equal(t, 100, yes)
	for range 10 {
		d, release := agent.OpenStream()
		require.True(t, d.Allow)
		defer release()
	}
}

func TestStreams(t *testing.T) {
	p, _ := newQuotaPolicy(t, LimitsConfig{RPS: 1, Burst: 1, Streams: 2})
	a := p.Client(inContainer("a"))
	_, first := a.OpenStream()
	_, second := a.OpenStream()
	d, none := a.OpenStream()
	require.Equal(t, Decision{Status: 429, Reason: ReasonStreams, Message: "too many open streams", RetryAfter: streamRetry}, d)
	none()
	d, other := p.Client(inContainer("b")).OpenStream()
	require.True(t, d.Allow)
	other()
	first()
	first()
	d, third := a.OpenStream()
	require.True(t, d.Allow)
	d, _ = a.OpenStream()
	require.False(t, d.Allow, "giving one back twice frees one place")
	second()
	third()
}

// A client that has used up its quota cannot get a new one by filling the
// table with other names, and the table stays as large as it is.
func TestTableOfQuotasIsBounded(t *testing.T) {
	p, clock := newQuotaPolicy(t, LimitsConfig{RPS: 1, Burst: 10, Streams: 2})
	q := p.quotas
	host := func(uid int) *Client { return p.Client(Identity{Kind: KindHost, UID: uint32(uid)}) }
	greedy := host(0)
	yes, _ := take(greedy, 20)
	require.Equal(t, 10, yes)
	clock.advance(time.Millisecond)
	streaming := host(1)
	_, release := streaming.OpenStream()

	shared := 0
	for uid := 2; uid < 3*maxQuotas; uid++ {
		if y, _ := take(host(uid), 1); y == 0 {
			shared++
		}
	}
	require.Len(t, q.byKey, maxQuotas)
	require.Equal(t, 3*maxQuotas-2-(maxQuotas-2)-10, shared, "the many that found no room had one bucket of 10 together")
	yes, _ = take(greedy, 1)
	require.Zero(t, yes, "nothing was forgotten")

	// One moment before its bucket is full again it is kept, then not.
	clock.advance(10*time.Second - time.Millisecond)
	host(999_999).Request()
	require.NotContains(t, q.byKey, "host/999999", "there is still something to be forgotten of each")
	yes, _ = take(greedy, 5)
	require.Equal(t, 5, yes)
	clock.advance(10 * time.Second)
	require.Same(t, q.byKey["host/2"], q.idle.Front().Value)
	yes, _ = take(host(1_000_000), 1)
	require.Equal(t, 1, yes)
	require.NotContains(t, q.byKey, "host/2")
	require.Contains(t, q.byKey, "host/1", "it has a stream open")
	require.Len(t, q.byKey, maxQuotas)

	release()
	require.Equal(t, maxQuotas, q.idle.Len())
	for uid := range 3 * maxQuotas {
		clock.advance(10 * time.Second)
		host(2_000_000 + uid).Request()
	}
	require.Len(t, q.byKey, maxQuotas)
	require.Equal(t, maxQuotas, q.idle.Len())
	require.NotContains(t, q.byKey, "host/1")
}

// Streams of clients that found no room count together, and come back.
func TestSharedStreams(t *testing.T) {
	p, _ := newQuotaPolicy(t, LimitsConfig{RPS: 1, Burst: 1, Streams: 2})
	open := func(uid int) (Decision, func()) {
		return p.Client(Identity{Kind: KindHost, UID: uint32(uid)}).OpenStream()
	}
	for uid := range maxQuotas {
		_, release := open(uid)
		defer release()
	}
	_, first := open(5000)
	_, second := open(5001)
	d, _ := open(5002)
	require.False(t, d.Allow)
	first()
	d, third := open(5002)
	require.True(t, d.Allow)
	second()
	third()
	require.Zero(t, p.quotas.shared.streams)
	require.Zero(t, p.quotas.idle.Len())
}

func TestQuotasConcurrently(t *testing.T) {
	p, _ := newQuotaPolicy(t, LimitsConfig{RPS: 1, Burst: 100, Streams: 4})
	var group sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for range 8 {
		group.Go(func() {
			c := p.Client(inContainer("a"))
			yes, _ := take(c, 50)
			for range 50 {
				_, release := c.OpenStream()
				release()
			}
			mu.Lock()
			defer mu.Unlock()
			total += yes
		})
	}
	group.Wait()
	require.Equal(t, 100, total)
	require.Zero(t, p.quotas.byKey["container/"+cid("a")].streams)
}

func TestWholeSeconds(t *testing.T) {
	for d, want := range map[time.Duration]int{
		0: 1, time.Millisecond: 1, time.Second: 1, time.Second + 1: 2, 90 * time.Second: 90,
	} {
		require.Equal(t, want, wholeSeconds(d), d)
	}
}
