package kubelet

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTake counts listings that have a hole.
func TestTake(t *testing.T) {
	text := func(items ...string) pods {
		t.Helper()
		all, err := parsePods([]byte(`{"items":[` + strings.Join(items, ",") + `]}`))
		require.NoError(t, err)
		return all
	}
	pod := func(uid, ns, name string) string {
		return fmt.Sprintf(`{"metadata":{"uid":%q,"namespace":%q,"name":%q},"status":{"containerStatuses":[{"containerID":"x://c-%[1]s"}]}}`,
			uid, ns, name)
	}
	const forever = 100
	// How many listings with a hole keep what, after one without.
	f := func(hole string, want map[string]int) {
		t.Helper()
		v := newView()
		v.take(text(pod("1", "n", "a"), pod("2", "n", "b"), pod("3", "m", "a")), none)
		kept := map[string]int{}
		for range forever {
			v.take(text(hole), none)
			for uid := range v.pods {
				kept[uid]++
			}
			if len(v.containers) != len(v.pods) {
				t.Fatalf("%s: %d containers of %d pods", hole, len(v.containers), len(v.pods))
			}
		}
		if !maps.Equal(kept, want) {
			t.Errorf("%s: kept %v, want %v", hole, kept, want)
		}
	}
	const some = maxMissed - 1
	f(`{"metadata":{"uid":"1","labels":7}}`, map[string]int{"1": forever})
	f(`{"metadata":{"uid":"other","labels":7}}`, map[string]int{})
	f(`{"metadata":{"uid":1,"namespace":"n","name":"a"}}`, map[string]int{"1": some})
	f(`{"metadata":{"uid":1,"name":"a"}}`, map[string]int{"1": some, "3": some})
	f(`{"metadata":{"uid":1,"namespace":"n"}}`, map[string]int{"1": some, "2": some})
	f(`{"metadata":{"namespace":"n","name":"new"}}`, map[string]int{})
	f(`5`, map[string]int{"1": some, "2": some, "3": some})

	// Being listed again begins a new count.
	v := newView()
	for range 3 {
		v.take(text(pod("1", "n", "a")), none)
		for range some {
			v.take(text(`5`), none)
		}
		if v.pods["1"] == nil {
			t.Error("listings that are not in a row were added up")
		}
	}
	v.take(text(`5`), none)
	if len(v.pods) > 0 || len(v.containers) > 0 || len(v.known) > 0 {
		t.Errorf("left: %v", v)
	}
}

// TestBrokenBound: a list of nothing but broken pods is remembered in little.
func TestBrokenBound(t *testing.T) {
	var items []string
	for i := range 3 * maxBroken {
		items = append(items, fmt.Sprintf(`{"metadata":{"uid":"%d","labels":7}}`, i))
	}
	all, err := parsePods([]byte(`{"items":[` + strings.Join(items, ",") + `]}`))
	require.NoError(t, err)
	if len(all.broken) != maxBroken+1 || all.broken[maxBroken] != (identity{}) {
		t.Errorf("%d are remembered, the last one is %v", len(all.broken), all.broken[len(all.broken)-1])
	}
}
