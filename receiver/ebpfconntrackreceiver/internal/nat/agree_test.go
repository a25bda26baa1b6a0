package nat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// TestAgreesWithTool compares the answers about 5,000 real connections, in both
// directions, with what the tool conntrack lists.
func TestAgreesWithTool(t *testing.T) {
	testkit.NeedCommand(t, "conntrack")
	r := newRig(t)
	r.connectMany(5000)
	listed := append(r.list("ipv4"), r.list("ipv6")...)
	require.GreaterOrEqual(t, len(listed), 5000)
	translated := 0
	queries, want := make([]Query, 0, 2*len(listed)), make([]Answer, 0, 2*len(listed))
	for _, e := range listed {
		if e.original != (tuple{e.reply.destination, e.reply.source}) {
			translated++
		}
		for _, origin := range []Origin{Original, Reply} {
			mine, other := e.original, e.reply
			if origin == Reply {
				mine, other = e.reply, e.original
			}
			queries = append(queries, Query{Pair: Pair{Local: mine.source, Remote: mine.destination}, Transport: e.transport})
			want = append(want, Answer{Found: true, Origin: origin, Real: other.pair()})
		}
	}
	require.GreaterOrEqual(t, translated, 5000)
	both(t, func(t *testing.T, mode Mode) {
		resolver := r.with(t).open(mode)
		answers := make([]Answer, len(queries))
		require.NoError(t, resolver.Resolve(context.Background(), Namespace{}, queries, answers))
		require.Equal(t, want, answers)
		require.Equal(t, uint64(len(queries)), resolver.Stats().Hits)
	})
}

// connectMany makes n connections through the published port, and ends them:
// half of them TCP, a quarter each UDP over v4 and v6.
func (r *rig) connectMany(n int) {
	r.t.Helper()
	r.in(r.host, func() error { // 30 s are over before a slow machine has made them all
		return os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_udp_timeout", []byte("600"), 0)
	})
	r.listen(r.second, "tcp4", addrPort(second4, inside).String())
	r.listen(r.second, "udp4", addrPort(second4, inside).String())
	r.listen(r.second, "udp6", addrPort(second6, inside).String())
	r.in(r.first, func() error {
		for i := range n {
			network, to := "tcp4", addrPort(host4, published)
			switch i % 4 {
			case 1:
				network = "udp4"
			case 3:
				network, to = "udp6", addrPort(host6, published)
			}
			if err := connectOnce(network, to, 10000+i); err != nil {
				return fmt.Errorf("%s connection %d: %w", network, i, err)
			}
		}
		return nil
	})
}

// connectOnce uses a port of its own: each connection is an entry of its own.
func connectOnce(network string, to netip.AddrPort, port int) error {
	var local net.Addr = &net.TCPAddr{Port: port}
	if strings.HasPrefix(network, "udp") {
		local = &net.UDPAddr{Port: port}
	}
	dialer := net.Dialer{LocalAddr: local}
	c, err := dialer.Dial(network, to.String())
	if err != nil {
		return err
	}
	if local.Network() == "udp" { // there is no entry before it has arrived
		err = echo(c)
	}
	return errors.Join(err, c.Close())
}

// list reads what the tool says of all TCP and UDP entries of a family.
func (r *rig) list(family string) []entry {
	r.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", r.host, "conntrack", "-L", "-f", family, "-o", "extended").Output()
	require.NoError(r.t, err)
	var all []entry
	for line := range strings.Lines(string(out)) {
		if e, ok := r.parseLine(line); ok {
			all = append(all, e)
		}
	}
	return all
}

// parseLine reads a line such as
// ipv4 2 tcp 6 119 TIME_WAIT src=A dst=B sport=1 dport=2 src=C dst=D sport=3 dport=4 [ASSURED] mark=0 use=1.
func (r *rig) parseLine(line string) (entry, bool) {
	r.t.Helper()
	fields := strings.Fields(line)
	transport, known := map[string]Transport{"tcp": TCP, "udp": UDP}[fields[2]]
	if !known {
		return entry{}, false // such as icmpv6
	}
	values := map[string][]string{}
	for _, f := range fields {
		if name, value, ok := strings.Cut(f, "="); ok {
			values[name] = append(values[name], value)
		}
	}
	end := func(address, port string, i int) netip.AddrPort {
		a, err := netip.ParseAddr(values[address][i])
		require.NoError(r.t, err, line)
		p, err := strconv.ParseUint(values[port][i], 10, 16)
		require.NoError(r.t, err, line)
		return netip.AddrPortFrom(a, uint16(p))
	}
	half := func(i int) tuple { return tuple{end("src", "sport", i), end("dst", "dport", i)} }
	return entry{transport: transport, original: half(0), reply: half(1)}, true
}
