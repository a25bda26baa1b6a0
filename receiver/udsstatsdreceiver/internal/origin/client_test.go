package origin

import (
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestParseLocal(t *testing.T) {
	f := func(text, id string, inode uint64) {
		t.Helper()
		gotID, gotInode := parseLocal([]byte(text))
		require.Equal(t, id, gotID)
		require.Equal(t, inode, gotInode)
	}
	f("83c0a99c0a54", "83c0a99c0a54", 0) // O01
	f("ci-83c0a99c0a54", "83c0a99c0a54", 0)
	f("cid-83c0a99c0a54", "83c0a99c0a54", 0)
	f("ci-83c0,in-42", "83c0", 42) // O05
	f("in-42,ci-83c0", "83c0", 42)
	f("in-notanumber", "", 0)
	f("in-18446744073709551616", "", 0)
	f("in--1", "", 0)
	f("abc,def", "", 0)      // O08
	f("cid-abc,in-5", "", 5) // O09
	f("", "", 0)
	f("ci-a b", "", 0)
	f("ci-\xff", "", 0)
}

func TestParseExternal(t *testing.T) {
	f := func(text, name, pod string) {
		t.Helper()
		gotName, gotPod := parseExternal([]byte(text))
		require.Equal(t, name, gotName)
		require.Equal(t, pod, gotPod)
	}
	f("it-false,cn-web,pu-1234", "web", "1234")
	f("pu-1234,it-true", "", "1234")
	f("", "", "")
	f("what,ever", "", "")
}

func FuzzClaim(f *testing.F) {
	for _, text := range []string{"ci-83c0,in-42", "cid-x", "it-false,cn-web,pu-1234", "in-18446744073709551615", ",", "\xff"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		id, inode := parseLocal(text)
		name, pod := parseExternal(text)
		for _, part := range []string{id, name, pod} {
			require.True(t, isPlain([]byte(part)))
			require.Contains(t, string(text), part)
			require.NotContains(t, part, ",")
		}
		if inode != 0 {
			require.Contains(t, string(text), "in-")
		}
	})
}

func TestClaim(t *testing.T) {
	g := newRig(t, TierProc, ClientFallback)
	c := newContainer(t)
	var st syscall.Stat_t
	require.NoError(t, syscall.Stat(c.Dir("memory"), &st))
	testkit.Eventually(t, testPatience, func() error {
		if _, ok := g.r.o.View.Index().ByID(c.id); !ok {
			return errNotYet
		}
		return nil
	})
	none, host := g.r.none(ReasonGone), g.r.host()
	kernel := g.r.pool.intern(Origin{Kind: KindKernel, ContainerID: "k"})
	claims := g.r.Claims()
	claim := func(kernel *Origin, local, external string) *Origin {
		return claims.Claim(Clock(), kernel, []byte(local), []byte(external))
	}
	in := "in-" + strconv.FormatUint(st.Ino, 10)

	got := claim(none, in, "")
	require.Equal(t, Origin{Kind: KindClient, ContainerID: c.id, Runtime: got.Runtime, Verified: true}, *got)
	require.Same(t, got, claim(none, in, ""))
	got = claim(none, "ci-elsewhere", "it-false,cn-web,pu-1234")
	require.Equal(t, Origin{Kind: KindClient, ContainerID: "elsewhere", PodUID: "1234", ContainerName: "web"}, *got)
	require.False(t, claim(none, "ci-"+c.id, "").Verified)
	require.Same(t, none, claim(none, "in-1", ""))
	require.Same(t, none, claim(none, "", ""))
	require.Same(t, none, claim(none, "ci-"+strings.Repeat("a", maxClaim), ""))
	for _, o := range []*Origin{kernel, host} {
		require.Same(t, o, claim(o, in, ""))
	}

	g.r.o.Client = ClientFirst
	require.Equal(t, c.id, claim(kernel, in, "").ContainerID)
	require.Same(t, kernel, claim(kernel, "in-1", ""))
	g.r.o.Client = ClientOff
	require.Same(t, none, claim(none, in, ""))

	g.r.o.Client = ClientFallback
	for i := range maxClaims + 10 {
		claim(none, "ci-"+strconv.Itoa(i), "")
	}
	require.LessOrEqual(t, len(claims.byText), maxClaims)
}

// One origin, one pointer, as long as somebody holds it.
func TestPool(t *testing.T) {
	p := newPool()
	held := p.intern(Origin{Kind: KindKernel, ContainerID: "a"})
	for i := range 10 * firstSweep {
		p.intern(Origin{Kind: KindKernel, ContainerID: strconv.Itoa(i)})
		if i%firstSweep == 0 {
			runtime.GC()
		}
	}
	require.Same(t, held, p.intern(Origin{Kind: KindKernel, ContainerID: "a"}))
	require.Less(t, len(p.known), 5*firstSweep)
	require.NotSame(t, held, p.intern(Origin{Kind: KindClient, ContainerID: "a"}))
	require.Same(t, held, held.Payer())
}

func TestNames(t *testing.T) {
	for kind, want := range map[Kind]string{
		KindNone: "none", KindKernel: "kernel", KindHost: "host", KindClient: "client", KindPending: "pending",
	} {
		require.Equal(t, want, kind.String())
	}
	require.False(t, lookAtNamespaces("/proc").foreignProc)
	require.True(t, lookAtNamespaces(t.TempDir()).foreignProc)
}

// What waits does so on one account, and is told of once.
func TestPendingOrigins(t *testing.T) {
	g := newRig(t, TierProc, ClientOff)
	a := g.r.wait(&pending{pid: 1 << 22, since: Clock(), until: Clock()})
	b := g.r.wait(&pending{pid: 2 << 22, since: Clock(), until: Clock()})
	require.NotSame(t, a, b)
	require.Same(t, a.Payer(), b.Payer())
	_, ok := g.r.Settle(a, false)
	require.False(t, ok)
	final, ok := g.r.Settle(a, true)
	require.True(t, ok)
	require.Equal(t, ReasonGone, final.Reason)
	require.False(t, a.pending.extend(Clock()), "it has been told")
	steady := &pending{until: time.Second}
	require.True(t, steady.extend(time.Second+patience))
	require.False(t, steady.extend(time.Second+patience+1), "an answer is due")
	require.Equal(t, ReasonGone, g.settled(b).Reason, "after a while nothing is the answer")
	require.EqualValues(t, 2, g.r.Stats().Unresolved[ReasonGone])
	// Those who left the same cgroup wait together.
	const unknown = 1 << 60
	g = newRig(t, TierPIDFD, ClientOff)
	first := g.r.waitForCgroup(unknown)
	require.Same(t, first, g.r.waitForCgroup(unknown))
	require.NotSame(t, first, g.r.waitForCgroup(unknown+1))
	require.Equal(t, ReasonCgroup, g.settled(first).Reason)
}
