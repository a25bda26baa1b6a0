package join_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/join"
)

var byValue = cmp.Options{cmpopts.EquateComparable(netip.AddrPort{})}

// check joins ends in one batch, in the order given and turned around, and each in
// a batch of its own.
func check(t *testing.T, ends []join.End, want ...join.Found) {
	t.Helper()
	compare := func(how string, all []told) {
		t.Helper()
		for i := range all {
			if diff := cmp.Diff(want[i], all[i].found, byValue); diff != "" {
				t.Errorf("%s: end %d, %v -> %v:\n%s", how, i, all[i].end.Local, all[i].end.Remote, diff)
			}
		}
	}
	compare("one batch", run(t, join.Options{}, ends))
	backward := slices.Clone(ends)
	slices.Reverse(backward)
	turned := run(t, join.Options{}, backward)
	slices.Reverse(turned)
	compare("turned around", turned)
	if len(ends) > 2 {
		return // the first would have waited out before the last comes
	}
	var batches [][]join.End
	for _, e := range ends {
		batches = append(batches, []join.End{e})
	}
	compare("a batch for each", run(t, join.Options{}, batches...))
}

// hairpin is c1, that dials a port which the host forwards to c2, and masquerades.
func hairpin() conn {
	return conn{
		client: "c1", from: "172.17.0.2:40000", dialled: "192.0.2.1:8080",
		server: "c2", to: "172.17.0.3:80", seen: "172.17.0.1:50000", up: 16, down: 32,
	}
}

func TestPairs(t *testing.T) {
	f := func(name string, k conn) {
		t.Run(name, func(t *testing.T) {
			check(t, both(k), known(k.server, k.to), known(k.client, k.from))
		})
	}
	plain := conn{client: "c1", from: "172.17.0.2:40000", server: "c2", to: "172.17.0.3:80", up: 16, down: 32}
	f("plain", plain)
	k := plain
	k.noClientConntrk, k.noServerConntrk = true, true
	f("plain without conntrack", k)
	f("hairpin", hairpin())
	k = hairpin()
	k.noServerConntrk = true
	f("hairpin, known at the client's end only", k)
	k = hairpin()
	k.noClientConntrk = true
	f("hairpin, known at the server's end only", k)
	k = hairpin()
	k.seen = ""
	f("forwarded without masquerade", k)
	k.noServerConntrk = true
	f("forwarded, known at the client's end only", k)
	k.noServerConntrk, k.noClientConntrk = false, true
	f("forwarded, known at the server's end only", k)
	k = plain
	k.seen = "172.18.0.1:60001"
	f("masqueraded only", k)
	k.noClientConntrk = true
	f("masqueraded, known at the server's end only", k)
	f("IPv6", conn{client: "c1", from: "[fd00::2]:40000", server: "c2", to: "[fd00::3]:80", dialled: "[2001:db8::1]:8080", seen: "[fd00::1]:50000"})
	f("host to container", conn{from: "192.0.2.1:40000", dialled: "192.0.2.1:8080", server: "c2", to: "172.17.0.3:80"})
	f("loopback", conn{client: "c1", server: "c1", from: "127.0.0.1:40000", to: "127.0.0.1:80", clientNS: 7, serverNS: 7})
	f("half a second", conn{client: "c1", server: "c2", from: "172.17.0.2:40000", to: "172.17.0.3:80", lasting: 500 * ms})
}

// TestTwoTranslators is a client whose own namespace translates what it dialled,
// and a server whose host masquerades: neither end knows the whole.
func TestTwoTranslators(t *testing.T) {
	client, server := conn{client: "c1", from: "10.0.0.2:40000", dialled: "10.96.0.1:80", server: "c2", to: "10.0.0.3:80"}.ends()
	server.RealLocal, server.Remote = at("10.0.0.3:80"), at("10.0.0.1:50000")
	check(t, []join.End{client, server}, known("c2", "10.0.0.3:80"), known("c1", "10.0.0.2:40000"))
}

func TestMappedAddresses(t *testing.T) {
	client, server := hairpin().ends()
	server.Local, server.Remote = at("[::ffff:172.17.0.3]:80"), at("[::ffff:172.17.0.1]:50000")
	server.RealLocal, server.RealRemote = at("[::ffff:192.0.2.1]:8080"), at("[::ffff:172.17.0.2]:40000")
	check(t, []join.End{client, server}, known("c2", "172.17.0.3:80"), known("c1", "172.17.0.2:40000"))
}

func TestNeitherEndTranslated(t *testing.T) {
	k := hairpin()
	k.noClientConntrk, k.noServerConntrk = true, true
	check(t, both(k), nothing, nothing)
}

func TestLoopbackIsOfOneNamespace(t *testing.T) {
	one := conn{client: "c1", server: "c1", from: "127.0.0.1:40000", to: "127.0.0.1:80", clientNS: 1, serverNS: 1}
	two := conn{client: "c2", server: "c2", from: "127.0.0.1:40000", to: "127.0.0.1:80", clientNS: 2, serverNS: 2}
	check(t, both(one, two), known("c1", one.to), known("c1", one.from), known("c2", two.to), known("c2", two.from))
	one.serverNS = 2
	check(t, both(one), nothing, nothing)
}

func TestUnknownDirection(t *testing.T) {
	client, server := hairpin().ends()
	for _, e := range []*join.End{&client, &server} {
		e.Direction, e.Started, e.Established = join.Unknown, 0, 0
	}
	check(t, []join.End{client, server}, known("c2", "172.17.0.3:80"), known("c1", "172.17.0.2:40000"))
	_, server = hairpin().ends()
	check(t, []join.End{client, server}, known("c2", "172.17.0.3:80"), known("c1", "172.17.0.2:40000"))
}

func TestSameDirectionIsNoPair(t *testing.T) {
	client, _ := conn{client: "c1", from: "10.0.0.2:40000", server: "c2", to: "10.0.0.3:80"}.ends()
	other := client
	other.Owner = "c2"
	check(t, []join.End{client, other}, nothing, nothing)
}

func TestConnectionToItself(t *testing.T) {
	client, _ := conn{client: "c1", from: "127.0.0.1:40000", to: "127.0.0.1:40000", clientNS: 1}.ends()
	check(t, []join.End{client}, known("c1", "127.0.0.1:40000"))
}

// TestRefusedDoesNotWait: nobody can be at the other end.
func TestRefusedDoesNotWait(t *testing.T) {
	client, _ := hairpin().ends()
	client.Established = 0
	all := run(t, join.Options{}, []join.End{client})
	if all[0].at != time.Minute || all[0].found != nothing {
		t.Errorf("handed out at %v: %+v", all[0].at, all[0].found)
	}
}

// TestReuse has three connections of two ports, one after the other, whose servers
// are of one address and different containers.
func TestReuse(t *testing.T) {
	f := func(name string, pause time.Duration) {
		t.Run(name, func(t *testing.T) {
			var all []conn
			for i, server := range []string{"a", "b", "c"} {
				k := hairpin()
				k.server, k.begin = server, start+time.Duration(i)*pause
				all = append(all, k)
			}
			c, s := known("c1", all[0].from), all[0].to
			check(t, both(all...), known("a", s), c, known("b", s), c, known("c", s), c)
		})
	}
	f("after seconds", 2*time.Second)
	f("after milliseconds", 2*ms)
}

// TestReuseWithLostEnds: what is left is of different uses of the ports.
func TestReuseWithLostEnds(t *testing.T) {
	first, second := hairpin(), hairpin()
	second.begin, second.server = start+2*time.Second, "c3"
	client, _ := first.ends()
	_, server := second.ends()
	check(t, []join.End{client, server}, nothing, nothing)
}

// TestMasqueradeReusesItsPort: two connections of two clients, a moment apart, have
// the same port of the gateway, and one end of each was lost.
func TestMasqueradeReusesItsPort(t *testing.T) {
	first, second := hairpin(), hairpin()
	second.client, second.from, second.begin = "c9", "172.17.0.9:40000", start+5*ms
	client, _ := first.ends()
	_, server := second.ends()
	check(t, []join.End{client, server}, nothing, nothing)
	second.begin = start
	client, server = first.ends()
	_, other := second.ends()
	check(t, []join.End{client, other, server}, known("c2", first.to), nothing, known("c1", first.from))
}

// TestSlowNetwork has a client that resets before the server has the connection.
func TestSlowNetwork(t *testing.T) {
	client, server := hairpin().ends()
	client.Started -= 40 * ms
	server.Started += 20 * ms
	server.Established += 20 * ms
	server.Ended += 20 * ms
	check(t, []join.End{client, server}, known("c2", "172.17.0.3:80"), known("c1", "172.17.0.2:40000"))
	// Where the client had its answer at once, it is another use of the ports.
	client.Started += 40 * ms
	check(t, []join.End{client, server}, nothing, nothing)
}

func TestBytesThatNobodySent(t *testing.T) {
	client, server := hairpin().ends()
	server.Received = client.Sent + 1
	check(t, []join.End{client, server}, nothing, nothing)
}

// isolated are two connections of two networks with the same addresses.
func isolated() (one, two conn) {
	one = conn{client: "c1", server: "c2", from: "10.0.0.2:40000", to: "10.0.0.3:80", up: 10, down: 10}
	two = one
	two.client, two.server, two.begin = "c3", "c4", start+10*time.Microsecond
	return one, two
}

func TestIsolatedNetworks(t *testing.T) {
	one, two := isolated()
	check(t, both(one, two), ambiguous, ambiguous, ambiguous, ambiguous)
	// Three of the four are not enough to tell.
	check(t, both(one, two)[:3], ambiguous, ambiguous, ambiguous)
	check(t, both(one, two)[1:], ambiguous, ambiguous, ambiguous)
	// The bytes tell them apart.
	two.up, two.down = 20, 20
	check(t, both(one, two), known("c2", one.to), known("c1", one.from), known("c4", two.to), known("c3", two.from))
}

// TestIsolatedNetworksOverTwoBatches: what came first is a pair by itself, and a
// wrong one. It has to wait for the batch that says so.
func TestIsolatedNetworksOverTwoBatches(t *testing.T) {
	one, two := isolated()
	ends := both(one, two)
	for i, got := range run(t, join.Options{}, []join.End{ends[0], ends[3]}, []join.End{ends[1], ends[2]}) {
		if got.found != ambiguous {
			t.Errorf("end %d: %+v", i, got.found)
		}
	}
}

// TestIsolatedNetworksBehindOneAddress: conntrack told whom each client reached.
func TestIsolatedNetworksBehindOneAddress(t *testing.T) {
	one, two := isolated()
	one.dialled, two.dialled = "192.0.2.1:80", "192.0.2.1:80"
	one.seen, two.seen = "10.0.0.1:1001", "10.0.0.1:1002"
	check(t, both(one, two), known("c2", one.to), known("c1", one.from), known("c4", two.to), known("c3", two.from))
}

// TestIsolatedNetworksOverThreeBatches: the other end has to be there for a while
// too.
func TestIsolatedNetworksOverThreeBatches(t *testing.T) {
	one, two := isolated()
	ends := both(one, two)
	for i, got := range run(t, join.Options{}, ends[0:1], ends[3:4], ends[1:3]) {
		if got.found != ambiguous {
			t.Errorf("end %d: %+v", i, got.found)
		}
	}
}
