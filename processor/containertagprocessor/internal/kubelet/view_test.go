package kubelet_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// TestBrokenPod: a pod that is not understood stays as it was, and nothing else
// stays for its sake.
func TestBrokenPod(t *testing.T) {
	all := list("1", "2", "3")
	f := newFake(t, all)
	options := f.options()
	options.Interval = time.Millisecond // the spacing is for wants only
	_, sink := run(t, options)
	sink.AwaitContainers(t, "c-1", "c-2", "c-3")
	answers := func(body string, ids ...string) {
		t.Helper()
		f.change(func() { f.body = body })
		sink.AwaitContainers(t, ids...)
	}
	broken := func(text, from, to string) string {
		t.Helper()
		if !strings.Contains(text, from) {
			t.Fatalf("no %s in %s", from, text)
		}
		return strings.Replace(text, from, to, 1)
	}
	// Its labels are not understood, its uid is: for as long as it is listed.
	labels := broken(list("1", "2"), `"uid":"2",`, `"uid":"2","labels":7,`)
	answers(labels, "c-1", "c-2")
	f.waitAsked(t, f.count()+12)
	sink.AwaitContainers(t, "c-1", "c-2")
	if sink.Pod("2") == nil || sink.Pod("3") != nil {
		t.Errorf("pods: %v", sink.Pods())
	}
	// The answer before the broken one counts again.
	answers(all, "c-1", "c-2", "c-3")
	// Nothing is known of it: so it may be any that is missing, for six answers.
	before := f.count()
	answers(broken(list("1"), `"items":[`, `"items":[5,`), "c-1")
	if n := f.count() - before; n < 6 {
		t.Errorf("forgotten after %d answers", n)
	}
	testkit.Eventually(t, soon, func() error {
		if pods := sink.Pods(); len(pods) != 1 {
			return fmt.Errorf("pods: %v", pods)
		}
		return nil
	})
	if downs := sink.Downs(); len(downs) > 0 {
		t.Errorf("down: %v", downs)
	}
}

// TestEnded: a container that was started again is told to be gone, once, and
// before the one that lives.
func TestEnded(t *testing.T) {
	one := list("1")
	started := func(id, at, last string) string {
		return strings.Replace(one, `"containerID":"containerd://c-1"`, fmt.Sprintf(
			`"containerID":"containerd://%s","state":{"running":{"startedAt":%q}},"lastState":{%s}`, id, at, last), 1)
	}
	f := newFake(t, started("z-old", "2026-03-02T10:00:00Z", ""))
	source, sink := run(t, f.options())
	sink.AwaitContainers(t, "z-old")
	f.change(func() {
		f.body = started("a-new", "2026-03-02T11:00:00Z",
			`"terminated":{"containerID":"containerd://z-old","startedAt":"2026-03-02T10:00:00Z"}`)
	})
	source.Want("a-new", "")
	sink.AwaitContainers(t, "a-new")
	if got := sink.Container("a-new").Created; !got.Equal(time.Date(2026, 3, 2, 11, 0, 0, 0, time.UTC)) {
		t.Errorf("created %v", got)
	}
	calls := sink.Calls()
	if gone, put := slices.Index(calls, "gone kubelet z-old"), slices.Index(calls, "put kubelet a-new"); put < gone {
		t.Errorf("the living one is told before the one that ended: %q", calls)
	}
	// Who has data of the old one gets it, and it stays gone.
	source.Want("z-old", "")
	sink.Await(t, "gone kubelet z-old", 2)
	sink.AwaitContainers(t, "a-new")
	if n := sink.Count("absent kubelet z-old"); n != 0 {
		t.Error("the old one is called absent")
	}
	// When it is not listed any more that was told already.
	f.change(func() { f.body = list() })
	source.Want("nobody", "")
	sink.AwaitContainers(t)
	sink.Await(t, "absent kubelet nobody", 1)
	if n := sink.Count("gone kubelet z-old"); n != 2 {
		t.Errorf("told %d times to be gone", n)
	}
}
