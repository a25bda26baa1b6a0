package notice_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/discovery/identities"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/notice"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
)

// patience bounds waits: far more than any takes, as the machine may be busy.
const patience = 20 * time.Second

// rig is a writer that runs between a store and a board.
type rig struct {
	t     *testing.T
	store *store.Store
	board *identities.Board
	end   func()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	testkit.VerifyNoLeaks(t)
	r := &rig{
		t: t, board: identities.New(),
		store: store.New(store.Options{Containers: []string{"cri", "kubelet"}}, func(string, string) {}),
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		notice.New(r.store, r.board).Run(ctx)
	}()
	r.end = func() {
		cancel()
		<-ended
	}
	t.Cleanup(r.end)
	return r
}

func (r *rig) read() (stop func()) { return r.board.Subscribe(func(string, *target.Identity) {}) }

func (r *rig) has(n int) {
	r.t.Helper()
	testkit.Eventually(r.t, patience, func() error {
		if got := r.board.Stats().Containers; got != n {
			return fmt.Errorf("%d on the board, want %d", got, n)
		}
		return nil
	})
}

// What the board has no room for is counted.
func TestFullBoard(t *testing.T) {
	const room = 4096 // of package board
	r := newRig(t)
	for n := range room {
		r.board.Put(fmt.Sprint("taken ", n), &target.Identity{})
	}
	w := notice.New(r.store, r.board)
	w.ContainerChanged("late", &store.Entity{Container: &entity.Container{ID: "late"}})
	w.ContainerChanged("late", nil)
	require.EqualValues(t, 1, w.Dropped())
	require.Nil(t, r.board.Get("late"))
}

func (r *rig) put(id string) {
	r.store.PutContainer("cri", &entity.Container{ID: id, Name: "name-" + id})
}

// Nothing is written while nobody reads; all of it when somebody comes, and it is
// taken back when the last one goes, or at the end.
func TestOnlyForReaders(t *testing.T) {
	r := newRig(t)
	r.put("a")
	stop := r.read()
	r.has(1)
	r.put("b")
	require.Equal(t, 2, r.board.Stats().Containers, "at once")
	second := r.read()
	stop()
	r.put("c")
	require.Equal(t, 3, r.board.Stats().Containers)
	second()
	r.has(0)
	r.put("d")
	require.Zero(t, r.board.Stats().Containers)
	defer r.read()()
	r.has(4)
	r.end()
	require.Zero(t, r.board.Stats().Containers)
}

// What is said comes from all sources; what nobody knows, what is dead, and what it
// was recognised as make no notice.
func TestNotices(t *testing.T) {
	r := newRig(t)
	defer r.read()()
	r.put("first")
	r.has(1)
	address := netip.MustParseAddr("10.0.0.2")
	r.store.PutContainer("cri", &entity.Container{
		ID: "c", Runtime: "cri-o", Image: entity.Image{Name: "team/shop", Tags: []string{"1.2", "latest"}},
		Labels: map[string]string{"a": "b"}, Env: map[string]string{"PASSWORD": "hunter2"}, Command: "/bin/hunter2",
		Pod: &entity.PodRef{UID: "u", Container: "web"},
	})
	r.store.PutPod("kubelet", &entity.Pod{
		UID: "u", Name: "web-0", Namespace: "shop", Labels: map[string]string{"app": "shop"},
		Annotations: map[string]string{"x": "y"}, Addresses: []netip.Addr{address},
	})
	want := &target.Identity{
		Image: "team/shop", ImageTag: "1.2", Runtime: "cri-o", Labels: map[string]string{"a": "b"}, Addresses: []netip.Addr{address},
		Pod: target.Pod{
			Name: "web-0", Namespace: "shop", UID: "u", Container: "web",
			Labels: map[string]string{"app": "shop"}, Annotations: map[string]string{"x": "y"},
		},
	}
	got := r.board.Get("c")
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	r.store.PutTechnology("recognition", "c", &entity.Technology{Name: "nginx"})
	require.Same(t, got, r.board.Get("c"), "who recognises reads this: it must not turn in a circle")

	require.True(t, r.store.Want("unknown", ""))
	require.Nil(t, r.board.Get("unknown"))
	r.store.PutContainer("cri", &entity.Container{ID: "pause", Pod: &entity.PodRef{UID: "u"}})
	require.True(t, r.board.Get("pause").IsSandbox)
	for _, runtime := range []string{"docker", "podman"} {
		r.store.PutContainer("cri", &entity.Container{ID: "claims", Runtime: runtime, Pod: &entity.PodRef{UID: "u", Container: "web"}})
		require.Empty(t, r.board.Get("claims").Addresses, "a label makes no address one's own")
	}
	r.store.ContainerGone("cri", "c")
	require.Nil(t, r.board.Get("c"))
	require.Equal(t, "name-first", r.board.Get("first").Name)
}

// Two write on one board: neither takes away what it has not written, also of the
// containers that both know.
func TestTwoWriters(t *testing.T) {
	r := newRig(t)
	defer r.read()()
	known := &entity.Container{ID: "both", Name: "one"}
	other := store.New(store.Options{Containers: []string{"engine"}}, func(string, string) {})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		notice.New(other, r.board).Run(ctx)
	}()
	other.PutContainer("engine", known)
	r.has(1)
	r.store.PutContainer("cri", &entity.Container{ID: "both", Name: "another"})
	testkit.Eventually(t, patience, func() error {
		if got := r.board.Get("both"); got == nil || got.Name != "another" {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	r.store.ContainerGone("cri", "both")
	require.NotNil(t, r.board.Get("both"))
	require.Equal(t, "one", r.board.Get("both").Name)
	r.store.PutContainer("cri", &entity.Container{ID: "both", Name: "another"})
	cancel()
	<-ended
	require.Equal(t, "another", r.board.Get("both").Name)
	r.store.ContainerGone("cri", "both")
	require.Nil(t, r.board.Get("both"))

	r.put("a")
	r.has(1)
	r.board.Put("other", &target.Identity{Name: "by another"})
	r.store.ContainerGone("cri", "other")
	require.True(t, r.store.Want("other", ""))
	require.NotNil(t, r.board.Get("other"))
	r.end()
	require.Equal(t, 1, r.board.Stats().Containers)
}
