package policy

import (
	"container/list"
	"math"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxQuotas is how many clients are remembered, about 300 bytes each. More
	// containers and uids than that do not ask within seconds on one host.
	maxQuotas = 1024
	// streamRetry is the Retry-After for one stream too many, in seconds:
	// nobody knows when another one ends.
	streamRetry = 5
)

// Request counts one request against the client's rate. The agent's own
// process has no limit.
func (c *Client) Request() Decision {
	if c.Identity.Kind == KindAgent {
		return Decision{Allow: true}
	}
	wait, ok := c.policy.quotas.request(c.Identity.Key())
	if ok {
		return Decision{Allow: true}
	}
	return c.refuse(Decision{
		Status: http.StatusTooManyRequests, Reason: ReasonRate,
		Message: "too many requests", RetryAfter: wholeSeconds(wait),
	})
}

// OpenStream counts one open stream. The function gives it back; it is never
// nil and may be called more than once.
func (c *Client) OpenStream() (Decision, func()) {
	if c.Identity.Kind == KindAgent {
		return Decision{Allow: true}, func() {}
	}
	release, ok := c.policy.quotas.stream(c.Identity.Key(), c.policy.observe)
	if ok {
		return Decision{Allow: true}, release
	}
	return c.refuse(Decision{
		Status: http.StatusTooManyRequests, Reason: ReasonStreams,
		Message: "too many open streams", RetryAfter: streamRetry,
	}), release
}

// wholeSeconds rounds up; 0 would invite to come back at once.
func wholeSeconds(d time.Duration) int {
	return max(1, int(math.Ceil(d.Seconds())))
}

// quotas remembers who has used how much. A client is only forgotten when
// nothing would be lost by it: no stream open, and so long idle that its
// bucket is full again. So nobody gains by having others push it out. While
// the table is full of active clients, those that are new share one bucket.
type quotas struct {
	limits LimitsConfig
	refill time.Duration // until an empty bucket is full
	now    func() time.Time

	mu     sync.Mutex // guards what follows
	byKey  map[string]*quota
	idle   *list.List // of *quota without streams, the longest unused in front
	shared *quota     // of those that found no room
}

// quota is the state of one client; guarded by quotas.mu.
type quota struct {
	key     string
	bucket  *rate.Limiter
	streams int
	used    time.Time
	place   *list.Element // in idle; nil with open streams, and of shared
}

func newQuotas(l LimitsConfig, now func() time.Time) *quotas {
	if now == nil {
		now = time.Now
	}
	q := &quotas{limits: l, now: now, byKey: map[string]*quota{}, idle: list.New()}
	q.refill = time.Duration(min(float64(l.Burst)/l.RPS*float64(time.Second), math.MaxInt64/2))
	q.shared = q.make("")
	return q
}

func (q *quotas) make(key string) *quota {
	return &quota{key: key, bucket: rate.NewLimiter(rate.Limit(q.limits.RPS), q.limits.Burst)}
}

// request takes one token, or says how long until there is one. A refused
// request takes none.
func (q *quotas) request(key string) (wait time.Duration, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	c := q.find(key, now)
	if c.bucket.AllowN(now, 1) {
		return 0, true
	}
	missing := (1 - c.bucket.TokensAt(now)) / q.limits.RPS
	return time.Duration(min(missing*float64(time.Second), math.MaxInt64/2)), false
}

// stream takes one place. With force it does so beyond the limit as well.
func (q *quotas) stream(key string, force bool) (release func(), ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.find(key, q.now())
	ok = c.streams < q.limits.Streams
	if !ok && !force {
		return func() {}, false
	}
	c.streams++
	if c.place != nil {
		q.idle.Remove(c.place)
		c.place = nil
	}
	return sync.OnceFunc(func() { q.release(c) }), ok
}

func (q *quotas) release(c *quota) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c.streams--
	c.used = q.now()
	if c.streams == 0 && c != q.shared {
		c.place = q.idle.PushBack(c)
	}
}

// find returns the client's state, making room for it if it is new.
func (q *quotas) find(key string, now time.Time) *quota {
	c := q.byKey[key]
	if c == nil {
		if len(q.byKey) >= maxQuotas && !q.forget(now) {
			return q.shared
		}
		c = q.make(key)
		q.byKey[key] = c
		c.place = q.idle.PushBack(c)
	}
	c.used = now
	if c.place != nil {
		q.idle.MoveToBack(c.place)
	}
	return c
}

// forget drops the longest unused client, if its bucket is full again.
func (q *quotas) forget(now time.Time) bool {
	front := q.idle.Front()
	if front == nil {
		return false
	}
	c := front.Value.(*quota)
	if now.Sub(c.used) < q.refill {
		return false
	}
	q.idle.Remove(front)
	delete(q.byKey, c.key)
	return true
}
