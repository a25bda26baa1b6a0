package target_test

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

func identity() *target.Identity {
	return &target.Identity{
		Image: "team/shop", ImageTag: "1.2", Runtime: "containerd", Labels: map[string]string{"a": "b"},
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2")},
		Pod: target.Pod{
			Name: "web-0", Namespace: "shop", UID: "u-1", Container: "web",
			Labels: map[string]string{"app": "shop"}, Annotations: map[string]string{"prometheus.io/scrape": "true"},
		},
	}
}

// Each field counts, those of the pod too: one that Equal forgets is a change that
// nobody is told of.
func TestIdentityEqual(t *testing.T) {
	if !identity().Equal(identity()) {
		t.Fatal("equal to itself: no")
	}
	f := func(of func(*target.Identity) reflect.Value) {
		t.Helper()
		fields := of(identity()).Type()
		for i := range fields.NumField() {
			if fields.Field(i).Type.Kind() == reflect.Struct {
				continue // field by field below
			}
			other := identity()
			change(of(other).Field(i))
			if other.Equal(identity()) || identity().Equal(other) {
				t.Errorf("field %s makes no difference", fields.Field(i).Name)
			}
		}
	}
	f(func(i *target.Identity) reflect.Value { return reflect.ValueOf(i).Elem() })
	f(func(i *target.Identity) reflect.Value { return reflect.ValueOf(i).Elem().FieldByName("Pod") })
	empty := identity()
	empty.Labels = map[string]string{}
	none := identity()
	none.Labels = nil
	if !empty.Equal(none) {
		t.Error("an empty map is not none")
	}
}

// The pod's labels are not the container's, where somebody knows the pod.
func TestPodLabels(t *testing.T) {
	one := redis()
	if one.Pod().Labels["team"] != "a" {
		t.Errorf("%+v", one.Pod())
	}
	one.PodLabels = map[string]string{"app": "shop"}
	one.PodContainer = "web"
	if pod := one.Pod(); pod.Labels["app"] != "shop" || pod.Labels["team"] != "" || pod.Container != "web" {
		t.Errorf("%+v", pod)
	}
}
