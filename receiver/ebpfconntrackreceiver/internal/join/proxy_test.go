package join_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/join"
)

// proxied is a connection through docker-proxy: client to host:published, and
// docker-proxy to the server.
type proxied struct {
	pid       int
	published uint16
	client    string // owner; "-" is on another host
	from      string
	server    string
	to        string
	port      int // that docker-proxy dials from
	begin     time.Duration
	lasting   time.Duration
	up, down  uint64
}

// legs are the ends: client (unless on another host), accepted, dialled, server.
func (p proxied) legs() []join.End {
	if p.begin == 0 {
		p.begin = start
	}
	if p.lasting == 0 {
		p.lasting = ms
	}
	one := conn{
		client: p.client, from: p.from, to: fmt.Sprintf("172.17.0.1:%d", p.published), serverPID: p.pid,
		begin: p.begin, lasting: p.lasting, up: p.up, down: p.down,
	}
	two := conn{
		server: p.server, from: fmt.Sprintf("172.17.0.1:%d", p.port), to: p.to, clientPID: p.pid,
		begin: p.begin + 200*time.Microsecond, lasting: p.lasting - 200*time.Microsecond, up: p.up, down: p.down,
	}
	ends := both(one, two)
	if p.client == "-" {
		return ends[1:]
	}
	return ends
}

// web is the proxy of the tests.
func web(client, from string, port int) proxied {
	return proxied{
		pid: 77, published: 8080, client: client, from: from,
		server: "s", to: "172.17.0.9:80", port: port, up: 100, down: 200,
	}
}

func TestProxy(t *testing.T) {
	f := func(name string, p proxied) {
		t.Run(name, func(t *testing.T) {
			check(t, p.legs(), beyond("s", p.to), nothing, nothing, beyond(p.client, p.from))
		})
	}
	f("container", web("c1", "172.17.0.2:40000", 5001))
	f("host", web("", "172.17.0.1:40000", 5001))
	f("loopback", web("", "127.0.0.1:40000", 5001))
	t.Run("another host", func(t *testing.T) {
		check(t, web("-", "198.51.100.7:40000", 5001).legs(), nothing, nothing, address("198.51.100.7:40000"))
	})
}

// TestProxyIsWanted: the proxy's own ends are ends like others.
func TestProxyIsWanted(t *testing.T) {
	ends := web("c1", "172.17.0.2:40000", 5001).legs()
	ends[1].Wanted, ends[2].Wanted = true, true
	check(t, ends, beyond("s", "172.17.0.9:80"), known("c1", "172.17.0.2:40000"),
		known("s", "172.17.0.9:80"), beyond("c1", "172.17.0.2:40000"))
}

// TestProxyInBatches: the four ends come a batch after the other.
func TestProxyInBatches(t *testing.T) {
	ends := web("c1", "172.17.0.2:40000", 5001).legs()
	got := run(t, join.Options{Wait: time.Second}, ends[0:1], ends[3:4], ends[2:3], ends[1:2])
	if got[0].found != beyond("s", "172.17.0.9:80") || got[1].found != beyond("c1", "172.17.0.2:40000") {
		t.Errorf("client: %+v, server: %+v", got[0].found, got[1].found)
	}
}

func TestProxyLosesEnds(t *testing.T) {
	ends := web("c1", "172.17.0.2:40000", 5001).legs()
	without := func(i int) []join.End { return slices.Delete(slices.Clone(ends), i, i+1) }
	t.Run("client's", func(t *testing.T) {
		check(t, without(0), nothing, nothing, address("172.17.0.2:40000"))
	})
	t.Run("accepted", func(t *testing.T) {
		check(t, without(1), nothing, nothing, known("", "172.17.0.1:5001"))
	})
	t.Run("dialled", func(t *testing.T) {
		check(t, without(2), known("", "172.17.0.1:8080"), nothing, nothing)
	})
	t.Run("server's", func(t *testing.T) {
		check(t, without(3), address("172.17.0.9:80"), nothing, nothing)
	})
}

// TestProxyByProcess: what another connection told of the process holds for one
// whose legs cannot be matched.
func TestProxyByProcess(t *testing.T) {
	one, two := web("c1", "172.17.0.2:40000", 5001), web("c2", "172.17.0.3:40000", 5002)
	two.begin = start + 5*time.Second
	check(t, slices.Concat(one.legs(), two.legs()[:2]),
		beyond("s", one.to), nothing, nothing, beyond("c1", one.from), beyond("s", two.to), nothing)
	// Not if the number was of two processes.
	two.published = 8081
	check(t, slices.Concat(one.legs(), two.legs()[:2]),
		beyond("s", one.to), nothing, nothing, beyond("c1", one.from), known("", "172.17.0.1:8081"), nothing)
}

// TestProxyOfTwoBackends: the number was of two processes, and legs tell.
func TestProxyOfTwoBackends(t *testing.T) {
	one, two := web("c1", "172.17.0.2:40000", 5001), web("c2", "172.17.0.3:40000", 5002)
	two.server, two.to, two.begin = "r", "172.17.0.8:80", start+time.Second
	check(t, slices.Concat(one.legs(), two.legs()),
		beyond("s", one.to), nothing, nothing, beyond("c1", one.from),
		beyond("r", two.to), nothing, nothing, beyond("c2", two.from))
}

func TestTwoProxies(t *testing.T) {
	one, two := web("c1", "172.17.0.2:40000", 5001), web("c2", "172.17.0.3:40000", 5002)
	two.pid, two.published, two.server, two.to = 78, 8081, "r", "172.17.0.8:80"
	check(t, slices.Concat(one.legs(), two.legs()),
		beyond("s", one.to), nothing, nothing, beyond("c1", one.from),
		beyond("r", two.to), nothing, nothing, beyond("c2", two.from))
}

// crowd is n connections at the same time through one proxy; each changes them.
func crowd(n int, each func(i int, p *proxied)) []join.End {
	var ends []join.End
	for i := range n {
		p := web(fmt.Sprint("c", i), fmt.Sprintf("172.17.1.%d:40000", i), 5000+i)
		p.begin = start + time.Duration(i)*10*time.Microsecond
		each(i, &p)
		ends = append(ends, p.legs()...)
	}
	return ends
}

func TestProxyWithManyClients(t *testing.T) {
	f := func(name string, each func(int, *proxied), want func(i int) join.Found) {
		t.Run(name, func(t *testing.T) {
			var all []join.Found
			for i := range 50 {
				all = append(all, beyond("s", "172.17.0.9:80"), nothing, nothing, want(i))
			}
			check(t, crowd(50, each), all...)
		})
	}
	client := func(i int) join.Found { return beyond(fmt.Sprint("c", i), fmt.Sprintf("172.17.1.%d:40000", i)) }
	unclear := func(int) join.Found { return ambiguousProxy }
	f("different bytes", func(i int, p *proxied) { p.up += uint64(i) }, client)
	f("same bytes", func(int, *proxied) {}, unclear)
	f("same bytes, one after the other", func(i int, p *proxied) { p.begin = start + time.Duration(i)*2*ms }, client)
	f("same bytes, one client", func(i int, p *proxied) {
		p.client, p.from = "c", fmt.Sprintf("172.17.1.1:%d", 40000+i)
	}, func(i int) join.Found { return beyond("c", fmt.Sprintf("172.17.1.1:%d", 40000+i)) })
}

// TestProxyOneClientEachLegOnce: with equal bytes it does not matter which
// connection of the client an end is told, but each is told once.
func TestProxyOneClientEachLegOnce(t *testing.T) {
	ends := crowd(200, func(i int, p *proxied) {
		p.client, p.from, p.lasting = "c", fmt.Sprintf("172.17.1.1:%d", 40000+i), time.Duration(1+i*7%40)*ms
	})
	seen := map[netip.AddrPort]bool{}
	for i, got := range run(t, join.Options{}, ends) {
		if i%4 != 3 {
			continue
		}
		if f := got.found; !f.Known || !f.Proxied || f.Owner != "c" || seen[f.Remote] {
			t.Errorf("end %d: %+v, seen before: %v", i, f, seen[f.Remote])
		}
		seen[got.found.Remote] = true
	}
}

// TestProxyMissesOneOfTwo: the leg that is there may be of either.
func TestProxyMissesOneOfTwo(t *testing.T) {
	ends := crowd(2, func(_ int, p *proxied) { p.lasting = 10 * ms })
	ends = slices.Delete(ends, 5, 6) // what was accepted of the second
	check(t, ends, beyond("s", "172.17.0.9:80"), nothing, nothing, ambiguousProxy, nothing, nothing, ambiguousProxy)
}

// TestProxyBytesDiffer: a connection that was reset carried other bytes on its two
// legs. The client is told all the same, as that needs no match.
func TestProxyBytesDiffer(t *testing.T) {
	ends := web("c1", "172.17.0.2:40000", 5001).legs()
	ends[0].Received, ends[1].Sent = 150, 150
	check(t, ends, beyond("s", "172.17.0.9:80"), nothing, nothing, known("", "172.17.0.1:5001"))
}

// TestProxyAfterLoss: what is left of two connections looks like one.
func TestProxyAfterLoss(t *testing.T) {
	ends := crowd(2, func(_ int, p *proxied) { p.lasting = 10 * ms })
	left := []join.End{ends[0], ends[1], ends[6], ends[7]}
	f := func(lost bool, want join.Found) {
		t.Helper()
		j := join.New[int](join.Options{})
		if lost {
			j.Lost(0)
		}
		var got join.Found
		each := func(_ *join.End, id *int, f join.Found) {
			if *id == 3 {
				got = f
			}
		}
		for i, e := range left {
			j.Add(0, e, i)
		}
		for i := range 5 {
			j.Take(time.Duration(i)*batch, each)
		}
		if got != want {
			t.Errorf("lost %v: %+v", lost, got)
		}
	}
	f(true, ambiguousProxy)
	f(false, beyond("c0", "172.17.1.0:40000")) // nothing says that it is c1's
}
