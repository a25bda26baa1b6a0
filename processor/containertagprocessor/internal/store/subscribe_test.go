package store_test

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
)

// One that subscribes late is told all that the first one knows: the host, then
// the pods, then the containers, the dead and unknown too.
func TestSubscribeReplays(t *testing.T) {
	r := newRig(t, store.Options{})
	r.PutHost("cloud", []entity.Attribute{{Key: "region", Value: "x"}})
	r.PutPod("best", &entity.Pod{UID: "p"})
	r.PutContainer("best", member("live", "p"))
	r.PutContainer("best", named("dead", ""))
	r.ContainerGone("best", "dead")
	r.Want("unknown", "")

	again := newView()
	cancel := r.Subscribe(again)
	calls := again.takeCalls()
	if len(calls) != 5 || calls[0] != "host" || calls[1] != "pod p" {
		t.Errorf("told %q", calls)
	}
	same(t, r.view, again)
	r.PutContainer("best", named("new", ""))
	same(t, r.view, again)
	cancel()
	cancel()
	again.takeCalls()
	r.PutContainer("best", named("newer", ""))
	r.PutHost("cloud", nil)
	if calls := again.takeCalls(); len(calls) > 0 {
		t.Errorf("told %q after cancel", calls)
	}
	if r.view.get("newer") == nil {
		t.Error("the other one was cancelled as well")
	}
}

func same(t *testing.T, a, b *view) {
	t.Helper()
	if d := diff(a.containers, b.containers); d != "" {
		t.Error(d)
	}
	if d := diff(a.pods, b.pods); d != "" {
		t.Error(d)
	}
	if d := diff(a.host, b.host); d != "" {
		t.Error(d)
	}
}

// Sources, readers and subscribers at once; at the end all agree on what is
// there.
func TestConcurrently(t *testing.T) {
	const containers, rounds = 50, 40
	r := newRig(t, store.Options{MaxDead: 10, MaxUnknown: 10})
	var wg sync.WaitGroup
	for s, source := range []string{"best", "second"} {
		wg.Go(func() {
			for round := range rounds {
				for i := range containers {
					c := member(fmt.Sprint(i), fmt.Sprint("p", i%5))
					c.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i + round + s)})}
					r.PutContainer(source, c)
				}
				r.PutPod(source, &entity.Pod{UID: fmt.Sprint("p", round%5)})
				r.PutHost("cloud", []entity.Attribute{{Key: "round", Value: fmt.Sprint(round)}})
				r.Down(source, errors.New("away"))
				r.Up(source)
				for i := range containers {
					r.ContainerGone(source, fmt.Sprint(i))
				}
				r.PodGone(source, fmt.Sprint("p", round%5))
			}
		})
		wg.Go(func() {
			for round := range rounds {
				for i := range 2 * containers {
					r.Want(fmt.Sprint(i), fmt.Sprint("p", i))
					r.Absent(source, fmt.Sprint(i))
					r.ByAddress(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
				}
				r.Want("", fmt.Sprint("q", round))
				r.advance(grace / rounds)
				r.Expire()
				r.Subscribe(newView())()
				r.Stats()
			}
		})
	}
	wg.Wait()
	again := newView()
	r.Subscribe(again)()
	same(t, r.view, again)
	stats := r.Stats()
	r.numbers(t, stats.Live, stats.Dead, stats.Unknown)
	if stats.Dead > 10 || stats.Unknown > 10 || stats.Live > containers {
		t.Errorf("%+v", stats)
	}
	r.advance(2 * grace)
	r.Expire()
	for _, id := range r.view.ids() {
		r.ContainerGone("best", id)
		r.ContainerGone("second", id)
	}
	r.advance(2 * grace)
	r.Expire()
	r.Expire()
	r.numbers(t, 0, 0, 0)
	for i := range 256 {
		if id, ok := r.ByAddress(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})); ok {
			t.Errorf("address %d belongs to %q, which is dead", i, id)
		}
	}
}
