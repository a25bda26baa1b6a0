package join_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/join"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	ms = time.Millisecond
	// start is when connections of the tables are established.
	start = time.Hour
	// batch is how often the stream is read.
	batch = 100 * ms
)

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// conn is a connection; what is empty is as without translation.
type conn struct {
	client, server  string // owners
	from, to        string // their own addresses
	dialled, seen   string // what from dialled, and what to saw
	begin, lasting  time.Duration
	up, down        uint64
	clientNS        uint64
	serverNS        uint64
	clientPID       int // of docker-proxy
	serverPID       int
	noClientConntrk bool // conntrack knew nothing for the client's end
	noServerConntrk bool
}

// ends are a connection's, as they are told when nothing was lost: the server's
// has it 50 µs after the client's.
func (k conn) ends() (client, server join.End) {
	if k.dialled == "" {
		k.dialled = k.to
	}
	if k.seen == "" {
		k.seen = k.from
	}
	if k.begin == 0 {
		k.begin = start
	}
	if k.lasting == 0 {
		k.lasting = ms
	}
	up, down := k.up, k.down
	client = join.End{
		Netns: k.clientNS, Direction: join.Outgoing, Owner: k.client, PID: k.clientPID, Proxy: k.clientPID != 0,
		Local: at(k.from), Remote: at(k.dialled), RealLocal: at(k.seen), RealRemote: at(k.to),
		Started: k.begin - 50*time.Microsecond, Established: k.begin, Ended: k.begin + k.lasting,
		Sent: up, Received: down, Wanted: k.clientPID == 0,
	}
	server = join.End{
		Netns: k.serverNS, Direction: join.Incoming, Owner: k.server, PID: k.serverPID, Proxy: k.serverPID != 0,
		Local: at(k.to), Remote: at(k.seen), RealLocal: at(k.dialled), RealRemote: at(k.from),
		Started: k.begin + 50*time.Microsecond, Established: k.begin + 50*time.Microsecond,
		Ended: k.begin + k.lasting + 20*time.Microsecond, Sent: down, Received: up, Wanted: k.serverPID == 0,
	}
	if k.noClientConntrk {
		client.RealLocal, client.RealRemote = client.Local, client.Remote
	}
	if k.noServerConntrk {
		server.RealLocal, server.RealRemote = netip.AddrPort{}, netip.AddrPort{}
	}
	return client, server
}

// both are the ends of connections, client's first.
func both(all ...conn) []join.End {
	var ends []join.End
	for _, k := range all {
		client, server := k.ends()
		ends = append(ends, client, server)
	}
	return ends
}

// told is an end that was handed out.
type told struct {
	end   join.End
	found join.Found
	at    time.Duration
	order int
}

// run adds ends, a batch for each list, and takes until all that wait have waited
// long enough. It returns what was handed out by the ends' numbers.
func run(t testing.TB, o join.Options, batches ...[]join.End) []told {
	t.Helper()
	j := join.New[int](o)
	n := 0
	for _, ends := range batches {
		n += len(ends)
	}
	all := make([]told, n)
	seen := make([]bool, n)
	now, order := time.Minute, 0
	each := func(e *join.End, id *int, f join.Found) {
		if seen[*id] {
			t.Errorf("end %d comes twice", *id)
		}
		seen[*id] = true
		all[*id] = told{*e, f, now, order}
		order++
	}
	id := 0
	for _, ends := range batches {
		for _, e := range ends {
			j.Add(now, e, id)
			id++
		}
		j.Take(now, each)
		now += batch
	}
	for range 5 {
		j.Take(now, each)
		now += batch
	}
	if w := j.Stats().Waiting; w != 0 {
		t.Errorf("%d wait too long", w)
	}
	j.Flush(each)
	for i := range seen {
		if !seen[i] {
			t.Errorf("end %d never comes", i)
		}
	}
	return all
}

func known(owner, remote string) join.Found {
	return join.Found{Known: true, Owner: owner, Remote: at(remote)}
}

func beyond(owner, remote string) join.Found {
	f := known(owner, remote)
	f.Proxied = true
	return f
}

func address(remote string) join.Found { return join.Found{Proxied: true, Remote: at(remote)} }

var (
	nothing        = join.Found{}
	ambiguous      = join.Found{Ambiguous: true}
	ambiguousProxy = join.Found{Ambiguous: true, Proxied: true}
)
