package store_test

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
)

func at(id string, addresses ...string) *entity.Container {
	c := &entity.Container{ID: id}
	for _, a := range addresses {
		c.Addresses = append(c.Addresses, netip.MustParseAddr(a))
	}
	return c
}

func (r *rig) owns(t *testing.T, address, id string) {
	t.Helper()
	if got, ok := r.ByAddress(netip.MustParseAddr(address)); got != id || ok != (id != "") {
		t.Errorf("%s belongs to %q (%v), want %q", address, got, ok, id)
	}
}

func TestAddresses(t *testing.T) {
	r := newRig(t, store.Options{})
	r.PutContainer("best", at("a", "10.0.0.1", "fd00::1", "::ffff:10.0.0.2"))
	r.owns(t, "10.0.0.1", "a")
	r.owns(t, "::ffff:10.0.0.1", "a")
	r.owns(t, "fd00::1", "a")
	r.owns(t, "10.0.0.2", "a")
	r.owns(t, "10.0.0.9", "")
	// Another order changes nothing; what it has no more is nobody's.
	r.PutContainer("best", at("a", "10.0.0.2", "10.0.0.1"))
	r.owns(t, "10.0.0.1", "a")
	r.owns(t, "10.0.0.2", "a")
	r.owns(t, "fd00::1", "")
	r.ContainerGone("best", "a")
	r.owns(t, "10.0.0.1", "")
	r.PutContainer("best", at("a", "10.0.0.1"))
	r.owns(t, "10.0.0.1", "a")
}

// Engines give an address to the next as soon as it is free; news of the last
// owner may come later.
func TestAddressMoves(t *testing.T) {
	r := newRig(t, store.Options{})
	r.PutContainer("best", at("a", "10.0.0.1"))
	r.PutContainer("best", at("b", "10.0.0.1"))
	r.owns(t, "10.0.0.1", "b")
	r.PutContainer("best", at("a"))
	r.owns(t, "10.0.0.1", "b")
	r.ContainerGone("best", "a")
	r.owns(t, "10.0.0.1", "b")
	r.ContainerGone("best", "b")
	r.owns(t, "10.0.0.1", "")
}

// The containers of a pod have its address together. It is the pod's as long as
// one of them lives, and news of one do not take it from another.
func TestSharedAddress(t *testing.T) {
	r := newRig(t, store.Options{})
	for _, id := range []string{"sandbox", "init", "main"} {
		r.PutContainer("best", at(id, "10.0.0.1", "10.0.0.1", "::ffff:10.0.0.1"))
		r.owns(t, "10.0.0.1", id)
	}
	r.PutContainer("best", at("sandbox", "10.0.0.1"))
	r.owns(t, "10.0.0.1", "main")
	r.ContainerGone("best", "init")
	r.owns(t, "10.0.0.1", "main")
	r.ContainerGone("best", "main")
	r.owns(t, "10.0.0.1", "sandbox")
	r.ContainerGone("best", "sandbox")
	r.owns(t, "10.0.0.1", "")
}

// Of two sources the better one's addresses count, until it has none.
func TestAddressesOfTwoSources(t *testing.T) {
	r := newRig(t, store.Options{})
	r.PutContainer("second", at("a", "10.0.0.2"))
	r.owns(t, "10.0.0.2", "a")
	r.PutContainer("best", at("a", "10.0.0.1"))
	r.owns(t, "10.0.0.1", "a")
	r.owns(t, "10.0.0.2", "")
	r.PutContainer("best", at("a"))
	r.owns(t, "10.0.0.1", "")
	r.owns(t, "10.0.0.2", "a")
}

// A change of something else does not hide an address from who reads meanwhile.
func TestAddressIsNeverMissing(t *testing.T) {
	r := newRig(t, store.Options{})
	r.PutContainer("best", at("a", "10.0.0.1"))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, ok := r.ByAddress(netip.MustParseAddr("10.0.0.1")); !ok {
				t.Error("it was missing")
				return
			}
		}
	})
	for range 20_000 {
		r.PutContainer("best", at("a", "10.0.0.1"))
	}
	close(stop)
	wg.Wait()
}
