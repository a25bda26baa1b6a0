package join_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/join"
)

// world makes random connections of one host, and knows the truth of each.
type world struct {
	random *rand.Rand
	// busy is until when an address and port has a connection.
	busy map[string]time.Duration
	ends []event
	// lost is how many of 100 ends are not told.
	lost int
}

// event is an end, when it is told, and what may be said of it.
type event struct {
	end  join.End
	told time.Duration
	// near is who is at the other end of this connection, far who is beyond
	// docker-proxy, if that is in between.
	near, far *join.Found
	lost      bool
}

const worldSpan = 3 * time.Second

func newWorld(seed uint64) *world {
	return &world{random: rand.New(rand.NewPCG(seed, 1)), busy: map[string]time.Duration{}}
}

func (w *world) chance(percent int) bool { return w.random.IntN(100) < percent }

func (w *world) upTo(d time.Duration) time.Duration {
	return time.Duration(w.random.Int64N(int64(d))) + 1
}

// owner of a container's address: there is another container from the middle of
// the world on.
func owner(n int, begin time.Duration) string {
	if n == 0 && begin > start+worldSpan/2 {
		return "newcomer"
	}
	return fmt.Sprint("c", n)
}

// span is when a connection is there: mostly for milliseconds. The second container
// of an address comes 200 ms after the first has gone.
func (w *world) span() (begin, lasting time.Duration) {
	begin = start + w.upTo(worldSpan)
	lasting = w.upTo(3 * ms)
	if w.chance(20) {
		lasting = w.upTo(300 * ms)
	}
	return begin, lasting
}

// free takes a port of an address that has no connection then. So few are tried
// that they are used over and over again.
func (w *world) free(address string, begin, end time.Duration) (string, bool) {
	name := fmt.Sprintf("%s:%d", address, 40000+w.random.IntN(12))
	if w.busy[name] >= begin {
		return "", false
	}
	w.busy[name] = end
	return name, true
}

// connect makes one connection between two containers, the host, or within one.
func (w *world) connect(begin, lasting time.Duration) {
	a, b := w.random.IntN(4), w.random.IntN(4)
	late := time.Duration(0)
	if w.chance(10) {
		late = w.upTo(2 * time.Second) // the server's half stays open
	}
	middle := start + worldSpan/2
	if begin-200*ms < middle && begin+lasting+late+10*ms > middle {
		return // when the container of an address is another one
	}
	k := conn{
		client: owner(a, begin), server: owner(b, begin), begin: begin, lasting: lasting,
		to: fmt.Sprintf("172.17.0.1%d:80", b), clientNS: uint64(a), serverNS: uint64(b),
		up: uint64(w.random.IntN(3)), down: uint64(w.random.IntN(3)),
		noClientConntrk: w.chance(20), noServerConntrk: w.chance(20),
	}
	address := fmt.Sprintf("172.17.0.1%d", a)
	if w.chance(15) {
		k.server, k.serverNS, k.to, address = k.client, k.clientNS, "127.0.0.1:80", "127.0.0.1"
	}
	until := begin + lasting + late + ms
	from, ok := w.free(address, begin, until)
	if !ok {
		return
	}
	k.from = from
	if address != "127.0.0.1" && w.chance(50) {
		k.dialled = fmt.Sprintf("192.0.2.1:808%d", b)
		if w.chance(70) {
			if k.seen, ok = w.free("172.17.0.1", begin, until); !ok {
				return
			}
		}
	}
	client, server := k.ends()
	server.Ended += late
	w.delay(&client, &server)
	w.cut(&client, &server)
	w.tell(client, &join.Found{Owner: k.server, Remote: at(k.to)}, nil)
	w.tell(server, &join.Found{Owner: k.client, Remote: at(k.from)}, nil)
}

// delay is what the way to the server and back takes.
func (w *world) delay(client, server *join.End) {
	way := w.upTo(200 * time.Microsecond)
	if w.chance(5) {
		way = w.upTo(20 * ms)
	}
	client.Started -= 2 * way
	server.Started += way
	server.Established += way
	server.Ended += way
}

// cut lets a reset connection lose bytes.
func (w *world) cut(client, server *join.End) {
	if w.chance(10) {
		server.Received, client.Received = server.Received/2, client.Received/2
	}
}

// proxy makes one connection through docker-proxy: two connections.
func (w *world) proxy(begin, lasting time.Duration) {
	n := w.random.IntN(2)
	p := proxied{
		pid: 70 + n, published: uint16(8080 + n), server: fmt.Sprint("s", n), to: fmt.Sprintf("172.17.0.2%d:80", n),
		begin: begin, lasting: lasting + 500*time.Microsecond,
		up: uint64(w.random.IntN(3)), down: uint64(w.random.IntN(3)),
	}
	address := "172.17.0.1"
	switch a := w.random.IntN(6); {
	case a < 3:
		p.client, address = fmt.Sprint("c", a+1), fmt.Sprintf("172.17.0.1%d", a+1)
	case a < 5:
		p.client, address = "-", fmt.Sprintf("198.51.100.%d", a)
	}
	until := begin + p.lasting + 25*ms
	from, ok := w.free(address, begin, until)
	dialler, isFree := w.free("172.17.0.1", begin, until)
	if !ok || !isFree {
		return
	}
	p.from, p.port = from, int(at(dialler).Port())
	legs := p.legs()
	proxy := at(fmt.Sprintf("172.17.0.1:%d", p.published))
	if p.client != "-" {
		w.tell(legs[0], &join.Found{Remote: proxy}, &join.Found{Owner: p.server, Remote: at(p.to)})
		legs = legs[1:]
	}
	w.tell(legs[0], &join.Found{Owner: p.client, Remote: at(p.from)}, nil)
	w.tell(legs[1], &join.Found{Owner: p.server, Remote: at(p.to)}, nil)
	w.tell(legs[2], &join.Found{Remote: at(dialler)}, &join.Found{Owner: p.client, Remote: at(p.from)})
}

// tell puts an end into the stream, a few milliseconds late as CPUs have it.
func (w *world) tell(end join.End, near, far *join.Found) {
	end.Wanted = w.chance(80)
	w.ends = append(w.ends, event{end, end.Ended + w.upTo(3*ms), near, far, w.chance(w.lost)})
}

// fill makes connections in order of time.
func (w *world) fill(n int) {
	type one struct{ begin, lasting time.Duration }
	var all []one
	for range n {
		begin, lasting := w.span()
		all = append(all, one{begin, lasting})
	}
	slices.SortFunc(all, func(a, b one) int { return cmp.Compare(a.begin, b.begin) })
	for _, k := range all {
		if w.chance(30) {
			w.proxy(k.begin, k.lasting)
		} else {
			w.connect(k.begin, k.lasting)
		}
	}
	slices.SortStableFunc(w.ends, func(a, b event) int { return cmp.Compare(a.told, b.told) })
}

// isTrue judges an answer: who is told is right, or nobody is.
func (e *event) isTrue(f join.Found) bool {
	truth := e.near
	if f.Proxied {
		truth = e.far
	}
	switch {
	case f.Ambiguous && f.Known:
		return false
	case !f.Known && !f.Remote.IsValid():
		return true
	case truth == nil:
		return false
	case f.Proxied && f.Known:
		// Of connections with equal bytes it may be another one of this client.
		return f.Owner == truth.Owner && f.Remote.Addr() == truth.Remote.Addr()
	case f.Proxied:
		return f.Remote.Addr() == truth.Remote.Addr()
	}
	return f.Owner == truth.Owner && f.Remote == truth.Remote
}

// tally is what became of wanted ends.
type tally struct{ wanted, right, wrong, ambiguous int }

// play runs the world through a joiner in batches.
func (w *world) play(t testing.TB, o join.Options) (sum tally) {
	t.Helper()
	j := join.New[int](o)
	handed := make([]bool, len(w.ends))
	each := func(e *join.End, id *int, f join.Found) {
		event := &w.ends[*id]
		if handed[*id] || e.Owner != event.end.Owner || e.Ended != event.end.Ended {
			t.Fatalf("end %d comes twice, or as another", *id)
		}
		handed[*id] = true
		if !event.isTrue(f) {
			sum.wrong++
			t.Logf("end %d %+v\nfound %+v\nnear %+v\nfar %+v", *id, *e, f, event.near, event.far)
		}
		if !e.Wanted {
			return
		}
		sum.wanted++
		switch {
		case f.Ambiguous:
			sum.ambiguous++
		case f.Known || f.Remote.IsValid():
			sum.right++
		}
	}
	now := time.Duration(0)
	for i := range w.ends {
		for w.ends[i].told-start > now+batch {
			now += batch
			j.Take(now, each)
		}
		if w.ends[i].lost {
			j.Lost(now)
			handed[i] = true
			continue
		}
		j.Add(now, w.ends[i].end, i)
	}
	j.Flush(each)
	if i := slices.Index(handed, false); i >= 0 {
		t.Errorf("end %d never comes", i)
	}
	return sum
}

// TestWorlds: in no world is anybody told to be who is not.
func TestWorlds(t *testing.T) {
	var all tally
	for seed := range uint64(150) {
		w := newWorld(seed)
		w.fill(400)
		sum := w.play(t, join.Options{})
		if sum.wrong > 0 {
			t.Fatalf("world %d: %d of %d are wrong", seed, sum.wrong, sum.wanted)
		}
		all.wanted += sum.wanted
		all.right += sum.right
		all.ambiguous += sum.ambiguous
	}
	t.Logf("%+v", all)
	// A fifth of each end's conntrack answers is missing, and clients of equal
	// bytes crowd at two proxies.
	if all.right < all.wanted*7/10 {
		t.Errorf("only %d of %d are found", all.right, all.wanted)
	}
}

// FuzzWorld also loses ends, of which the joiner is told, and gives it little room.
func FuzzWorld(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed, uint8(seed%30), uint16(20+seed*20))
	}
	f.Fuzz(func(t *testing.T, seed uint64, lost uint8, room uint16) {
		w := newWorld(seed)
		w.lost = int(lost % 50)
		w.fill(200)
		if sum := w.play(t, join.Options{MaxWaiting: 1 + int(room), MaxRemembered: 1 + int(room)}); sum.wrong > 0 {
			t.Errorf("%d of %d are wrong", sum.wrong, sum.wanted)
		}
	})
}
