package store_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
)

var (
	early = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	late  = early.Add(time.Hour)
)

func full(of string, created time.Time) *entity.Container {
	return &entity.Container{
		ID: "c", Name: of, Runtime: of + "-runtime", RuntimeVersion: of + "-version", Command: "/" + of,
		Image:     entity.Image{Name: of + "/image", Tags: []string{of}, ID: "sha256:" + of, Digests: []string{"x@" + of}},
		Labels:    map[string]string{"both": of, of: "own"},
		Env:       map[string]string{"BOTH": of, of: "own"},
		Networks:  []string{of + "-net"},
		Addresses: []netip.Addr{netip.MustParseAddr(map[string]string{"best": "10.0.0.1", "second": "10.0.0.2"}[of])},
		Pod:       &entity.PodRef{UID: of + "-uid"},
		Task:      &entity.Task{Family: of},
		Created:   created,
	}
}

// The source named first wins field by field, whoever speaks first; maps are
// united.
func TestMergePrecedence(t *testing.T) {
	best, second := full("best", early), full("second", late)
	want := full("best", early)
	want.Labels["second"], want.Env["second"] = "own", "own"
	f := func(order ...string) {
		t.Helper()
		r := newRig(t, store.Options{})
		for _, name := range order {
			r.PutContainer(name, map[string]*entity.Container{"best": best, "second": second}[name])
		}
		if d := diff(want, r.view.get("c").Container); d != "" {
			t.Errorf("%v: %s", order, d)
		}
	}
	f("best", "second")
	f("second", "best")
	f("second", "best", "second")
	if d := diff(full("best", early), best); d != "" {
		t.Errorf("what a source has told was changed: %s", d)
	}
	if d := diff(full("second", late), second); d != "" {
		t.Errorf("what a source has told was changed: %s", d)
	}
}

// What the better source does not say comes from the other.
func TestMergeFillsGaps(t *testing.T) {
	r := newRig(t, store.Options{})
	r.PutContainer("best", &entity.Container{ID: "c"})
	r.PutContainer("second", full("second", late))
	if d := diff(full("second", late), r.view.get("c").Container); d != "" {
		t.Error(d)
	}
	// And goes again when it says otherwise.
	r.PutContainer("second", &entity.Container{ID: "c", Name: "new"})
	if d := diff(&entity.Container{ID: "c", Name: "new"}, r.view.get("c").Container); d != "" {
		t.Error(d)
	}
}

// Three sources: the last one does not change what the first two made.
func TestMergeThree(t *testing.T) {
	r := newRig(t, store.Options{Containers: []string{"a", "b", "c"}})
	r.PutContainer("a", &entity.Container{ID: "c", Labels: map[string]string{"k": "a"}})
	r.PutContainer("b", &entity.Container{ID: "c", Name: "b", Labels: map[string]string{"k": "b", "l": "b"}})
	r.PutContainer("c", &entity.Container{ID: "c", Name: "c", Command: "c", Labels: map[string]string{"l": "c", "m": "c"}})
	want := &entity.Container{ID: "c", Name: "b", Command: "c", Labels: map[string]string{"k": "a", "l": "b", "m": "c"}}
	if d := diff(want, r.view.get("c").Container); d != "" {
		t.Error(d)
	}
}

func TestHostAttributes(t *testing.T) {
	r := newRig(t, store.Options{})
	r.PutHost("cloud", []entity.Attribute{{Key: "region", Value: "cloud"}, {Key: "zone", Value: "a"}})
	r.PutHost("nobody", []entity.Attribute{{Key: "x", Value: "y"}})
	r.PutHost("static", []entity.Attribute{{Key: "region", Value: "static"}})
	want := []entity.Attribute{{Key: "region", Value: "static"}, {Key: "zone", Value: "a"}}
	if d := diff(want, r.view.host); d != "" {
		t.Error(d)
	}
	r.view.takeCalls()
	r.PutHost("static", []entity.Attribute{{Key: "region", Value: "static"}})
	if calls := r.view.takeCalls(); len(calls) > 0 {
		t.Errorf("nothing has changed, and was told: %q", calls)
	}
	r.PutHost("static", nil)
	if d := diff([]entity.Attribute{{Key: "region", Value: "cloud"}, {Key: "zone", Value: "a"}}, r.view.host); d != "" {
		t.Error(d)
	}
}
