package sockdiag_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/sockdiag"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// told is what a poller tells, in short.
type told struct {
	t      testing.TB
	poller *sockdiag.Poller
	begun  sockdiag.Look
}

func newTold(t testing.TB) *told { return &told{t: t, poller: sockdiag.NewPoller()} }

func (o *told) begin() { o.begun = o.poller.Begin(time.Unix(0, 0)) }

// end ends a look that found these connections.
func (o *told) end(conns ...sockdiag.Conn) []string {
	o.t.Helper()
	var all []string
	names := map[sockdiag.Event]string{sockdiag.Appeared: "appeared", sockdiag.Continued: "continued", sockdiag.Ended: "ended"}
	require.True(o.t, o.poller.Compare(o.begun, conns, func(c *sockdiag.Change, e sockdiag.Event) {
		all = append(all, fmt.Sprintf("%d %s +%d", c.Cookie, names[e], c.SentSince))
	}))
	return all
}

func (o *told) look(conns ...sockdiag.Conn) []string {
	o.t.Helper()
	o.begin()
	return o.end(conns...)
}

func sent(cookie, bytes uint64) sockdiag.Conn {
	return sockdiag.Conn{Cookie: cookie, Sent: bytes, State: sockdiag.Established}
}

// What was forgotten is told no more, whether the dump has it still or not.
func TestForget(t *testing.T) {
	o := newTold(t)
	require.Equal(t, []string{"1 appeared +0"}, o.look(sent(1, 1000)), "what it had before is not told")
	require.Equal(t, []string{"1 continued +5", "2 appeared +7", "3 appeared +8"}, o.look(sent(1, 1005), sent(2, 7), sent(3, 8)))

	// Between two looks.
	c, ok := o.poller.Forget(1)
	require.True(t, ok)
	require.Equal(t, uint64(1005), c.Sent)
	require.Equal(t, uint64(1000), c.SentBefore)
	require.True(t, c.Initial)
	_, ok = o.poller.Forget(1)
	require.False(t, ok, "once")

	// Of one that is known, and one that is not, while the dump is under way.
	o.begin()
	c, ok = o.poller.Forget(2)
	require.True(t, ok)
	require.Equal(t, uint64(7), c.Sent)
	require.Zero(t, c.SentBefore)
	require.Zero(t, c.SentSince, "it is no look")
	_, ok = o.poller.Forget(4)
	require.False(t, ok)
	require.Equal(t, []string{"3 continued +1"}, o.end(sent(2, 9), sent(3, 9), sent(4, 4)))

	require.Empty(t, o.look())
	require.Equal(t, []string{"3 ended +0"}, o.look())
	require.Zero(t, o.poller.Len())
}

// What a look has missed may be told as closed until the next one, and may be there
// after all.
func TestForgetMissed(t *testing.T) {
	o := newTold(t)
	o.look()
	o.look(sent(1, 10), sent(2, 20))
	require.Empty(t, o.look())
	c, ok := o.poller.Forget(1)
	require.True(t, ok)
	require.Equal(t, uint64(10), c.Sent)
	require.Equal(t, []string{"2 continued +1"}, o.look(sent(2, 21)), "and not as one that has appeared")
	require.Empty(t, o.look(), "it has to be missed twice in a row")
	require.Equal(t, []string{"2 ended +0"}, o.look())
	_, ok = o.poller.Forget(2)
	require.False(t, ok, "that comes too late")
}

// Cookies are kept while a look is under way, and no longer: the kernel never gives
// one away again, so what comes here with it is the test's own.
func TestForgottenIsNotKept(t *testing.T) {
	o := newTold(t)
	o.look()
	o.poller.Forget(1)
	require.Equal(t, []string{"1 appeared +1"}, o.look(sent(1, 1)), "no look was under way")
	o.begin()
	o.poller.Forget(1)
	require.Empty(t, o.end(sent(1, 1)))
	require.Equal(t, []string{"1 appeared +1"}, o.look(sent(1, 1)), "this look began later")
}

// A look that is not the last to have begun tells nothing.
func TestLookGivenUp(t *testing.T) {
	o := newTold(t)
	never := func(*sockdiag.Change, sockdiag.Event) { t.Error("it was given up") }
	require.False(t, o.poller.Compare(sockdiag.Look{}, []sockdiag.Conn{sent(1, 1)}, never), "it never began")
	old := o.poller.Begin(time.Unix(0, 0))
	require.Equal(t, []string{"1 appeared +0"}, o.look(sent(1, 1)), "the first that is compared is the first")
	require.False(t, o.poller.Compare(old, nil, never))
	require.False(t, o.poller.Compare(o.begun, nil, never), "a look is compared once")

	old = o.poller.Begin(time.Unix(0, 0))
	o.begin()
	require.False(t, o.poller.Compare(old, nil, never), "another is under way")
	require.Equal(t, []string{"1 continued +0"}, o.end(sent(1, 1)), "which goes on")

	o.begin()
	for cookie := range uint64(65_537) {
		o.poller.Forget(cookie + 100)
	}
	require.False(t, o.poller.Compare(o.begun, []sockdiag.Conn{sent(100, 1)}, never))
	require.Equal(t, []string{"1 continued +2"}, o.look(sent(1, 3)), "the next is as any")
}

// What was told never falls: the kernel may count a FIN as a byte once.
func TestToldNeverFalls(t *testing.T) {
	o := newTold(t)
	o.look()
	o.look(sent(1, 10))
	require.Equal(t, []string{"1 continued +0"}, o.look(sent(1, 9)))
	require.Equal(t, []string{"1 continued +2"}, o.look(sent(1, 12)), "of which it was told one before")
	c, _ := o.poller.Forget(1)
	require.Equal(t, uint64(12), c.Sent)
}

// life is a made-up connection and what was told of it. Its cookie is its index.
type life struct {
	bytes, before, sum        uint64
	closed, forgotten, missed bool
}

// fate is a world of made-up connections.
type fate struct {
	t      *testing.T
	random *rand.Rand
	poller *sockdiag.Poller
	all    []*life
	late   []uint64 // have ended, which nobody told yet
}

// live lets connections come, send and go.
func (f *fate) live(steps int) {
	for range steps {
		f.all = append(f.all, &life{bytes: f.random.Uint64N(100)})
		for cookie, l := range f.all {
			switch {
			case l.closed:
			case f.random.IntN(4) == 0:
				l.closed = true
				f.late = append(f.late, uint64(cookie))
			default:
				l.bytes += f.random.Uint64N(50)
			}
		}
		if f.random.IntN(2) == 0 {
			f.tell()
		}
	}
}

// tell tells what has ended.
func (f *fate) tell() {
	f.t.Helper()
	for _, cookie := range f.late {
		l := f.all[cookie]
		c, _ := f.poller.Forget(cookie)
		require.Equal(f.t, l.sum, c.Sent-c.SentBefore, "all that was told of %d", cookie)
		l.sum += l.bytes - c.Sent
		l.before, l.forgotten = c.SentBefore, true
	}
	f.late = f.late[:0]
}

// dump is of what is there, without one in ten, but never one twice in a row: of
// what was missed and has ended since, the news comes at once.
func (f *fate) dump() []sockdiag.Conn {
	var all []sockdiag.Conn
	for cookie, l := range f.all {
		if l.closed && l.missed {
			f.tell()
		}
		l.missed = !l.missed && f.random.IntN(10) == 0
		if !l.closed && !l.missed {
			all = append(all, sent(uint64(cookie), l.bytes))
		}
	}
	return all
}

// Whatever the order of dumps, ends and the news of them, all that is told of a
// connection and what is left of its final counter are its final counter.
func TestForgetIsExact(t *testing.T) {
	for seed := range uint64(200) {
		f := &fate{t: t, random: rand.New(rand.NewPCG(seed, 1)), poller: sockdiag.NewPoller()}
		for range 20 {
			f.live(3)
			look := f.poller.Begin(time.Unix(0, 0))
			f.live(1)
			dump := f.dump()
			f.live(2)
			require.True(t, f.poller.Compare(look, dump, func(c *sockdiag.Change, e sockdiag.Event) {
				l := f.all[c.Cookie]
				require.False(t, l.forgotten, "seed %d: %d is told after its end", seed, c.Cookie)
				require.NotEqual(t, sockdiag.Ended, e, "seed %d: %d was not missed twice", seed, c.Cookie)
				l.sum += c.SentSince
			}))
			f.tell() // later than the end, but not by two looks
		}
		told := 0
		for cookie, l := range f.all {
			if l.forgotten {
				told++
				require.Equal(t, l.bytes-l.before, l.sum, "seed %d: connection %d", seed, cookie)
			}
		}
		require.Greater(t, told, 50)
	}
}

// cookieOf is what the kernel calls a socket.
func cookieOf(t testing.TB, c net.Conn) (cookie uint64) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		cookie, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE)
	}))
	require.NoError(t, err)
	return cookie
}

// news is what is told of the ends of real connections.
type news struct {
	mu   sync.Mutex // guards what follows
	told *sync.Cond
	// closed connections are those whose end is under way or over, and known
	// those that were forgotten. looks were compared.
	closed, known int
	looks         int
	isOver        bool
	sums, want    map[uint64]uint64 // bytes by cookie
}

// settle waits until all that has ended is known.
func (n *news) settle() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for closed := n.closed; n.known < closed && !n.isOver; {
		n.told.Wait()
	}
}

// await waits for a look that begins after this: not the next to end, but the one
// after that.
func (n *news) await() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for end := n.looks + 2; n.looks < end; {
		n.told.Wait()
	}
}

// looked counts a look.
func (n *news) looked() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.looks++
	n.told.Broadcast()
}

// finish says that nothing will come any more.
func (n *news) finish() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.isOver = true
	n.told.Broadcast()
}

// traffic is a real connection and what its client sent.
type traffic struct {
	client, server net.Conn
	cookie, bytes  uint64
}

func connect(t *testing.T, l net.Listener) *traffic {
	client, server := pair(t, l)
	return &traffic{client: client, server: server, cookie: cookieOf(t, client)}
}

func (c *traffic) send(t *testing.T, n int) {
	send(t, c.client, c.server, n)
	c.bytes += uint64(n)
}

// close closes a connection.
func (n *news) close(t *testing.T, c *traffic) {
	n.mu.Lock()
	n.closed++
	n.mu.Unlock()
	// Without a reset FIN_WAIT would have the socket after its end.
	require.NoError(t, c.client.(*net.TCPConn).SetLinger(0))
	require.NoError(t, c.client.Close())
	require.NoError(t, c.server.Close())
}

// end is what BPF would do.
func (n *news) end(poller *sockdiag.Poller, cookie, bytes uint64) {
	c, _ := poller.Forget(cookie)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sums[cookie] += bytes - c.Sent
	n.want[cookie] = bytes
	n.known++
	n.told.Broadcast()
}

// note is what was told by a look.
func (n *news) note(t *testing.T, c *sockdiag.Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sums[c.Cookie] += c.SentSince
	if _, isOver := n.want[c.Cookie]; isOver {
		t.Errorf("%d is told after its end: %+v", c.Cookie, c)
	}
}

// Real connections come and go while a poller looks at them, and their ends are
// told from another goroutine: every byte counts once.
func TestForgetReal(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	const count = 400
	l := listen(t, "tcp", "127.0.0.1:0")
	poller := sockdiag.NewPoller()
	n := &news{sums: map[uint64]uint64{}, want: map[uint64]uint64{}}
	n.told = sync.NewCond(&n.mu)
	seen := 0
	look := func() {
		begun := poller.Begin(time.Now())
		require.True(t, poller.Compare(begun, dump(t).Conns, func(c *sockdiag.Change, _ sockdiag.Event) {
			if c.SentSince > 0 {
				seen++
			}
			n.note(t, c)
		}))
		n.looked()
	}
	look() // what comes from here on is no Initial
	ends := make(chan *traffic, 8)
	var working sync.WaitGroup
	working.Go(func() {
		defer close(ends)
		random := rand.New(rand.NewPCG(1, 2))
		var open []*traffic
		for i := range count + 16 { // as many are open at once
			if i < count {
				open = append(open, connect(t, l))
			}
			for range 4 {
				open[random.IntN(len(open))].send(t, 1+random.IntN(2000))
			}
			if i%16 == 0 {
				n.await()
			}
			if i >= 16 {
				n.close(t, open[0])
				ends <- open[0]
				open = open[1:]
			}
		}
	})
	working.Go(func() {
		defer n.finish()
		for c := range ends {
			n.end(poller, c.cookie, c.bytes)
		}
	})
	for n.goesOn() {
		look()
		n.settle()
	}
	working.Wait()
	require.Len(t, n.want, count)
	for cookie, bytes := range n.want {
		require.Equal(t, bytes, n.sums[cookie], "connection %d", cookie)
	}
	require.GreaterOrEqual(t, seen, count/16, "looks come in between")
}

func (n *news) goesOn() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.isOver
}
