package origin

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// benchSenders are processes that stay, proven to be in their containers.
func benchSenders(b *testing.B, n int) (*rig, []Sender) {
	g := newRig(b, TierProc, ClientOff)
	c := newContainer(b)
	var senders []Sender
	for range n {
		cmd := testkit.Run(b, c.Group, "sleep", "600")
		senders = append(senders, Sender{PID: cmd.Process.Pid, PIDFD: -1})
	}
	g.drain(nil) // empty from here on
	g.s.Begin()
	for _, s := range senders {
		require.Equal(b, c.id, g.s.Resolve(s).ContainerID)
	}
	return g, senders
}

// BenchmarkResolve is one known sender again and again, and eight in turn, in
// one batch; BenchmarkBegin is what each batch costs before.
func BenchmarkResolve(b *testing.B) {
	g, senders := benchSenders(b, 8)
	for name, mask := range map[string]int{"same": 0, "other": 7} {
		b.Run(name, func(b *testing.B) {
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i++
				if g.s.Resolve(senders[i&mask]).Kind != KindKernel {
					b.Fatal("lost")
				}
			}
		})
	}
}

func BenchmarkBegin(b *testing.B) {
	g, _ := benchSenders(b, 8)
	b.ReportAllocs()
	for b.Loop() {
		g.s.Begin()
	}
}

// BenchmarkNewSender is the first datagram of a process.
func BenchmarkNewSender(b *testing.B) {
	g, senders := benchSenders(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		e := g.s.byPID[senders[0].PID]
		e.recheck = 0
		g.s.last = nil
		if g.s.Resolve(senders[0]).Kind != KindKernel {
			b.Fatal("lost")
		}
	}
}

func BenchmarkClaim(b *testing.B) {
	g := newRig(b, TierProc, ClientFallback)
	local, none := []byte("ci-83c0a99c0a54"), g.r.none(ReasonGone)
	claims, now := g.r.Claims(), Clock()
	b.ReportAllocs()
	for b.Loop() {
		if claims.Claim(now, none, local, nil).Kind != KindClient {
			b.Fatal("lost")
		}
	}
}

func TestKnownSenderAllocatesNothing(t *testing.T) {
	g := newRig(t, TierProc, ClientOff)
	c := newContainer(t)
	from := Sender{PID: testkit.Run(t, c.Group, "sleep", "600").Process.Pid, PIDFD: -1}
	require.Equal(t, c.id, g.s.Resolve(from).ContainerID)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		g.s.Begin()
		g.s.Resolve(from)
	}))
}
