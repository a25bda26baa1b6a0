package kubelet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// podOf reads the one pod of a list.
func podOf(t *testing.T, spec, status string) *pod {
	t.Helper()
	all, err := parsePods(fmt.Appendf(nil, `{"items":[{"metadata":{"uid":"u"},"spec":{%s},"status":{%s}}]}`, spec, status))
	require.NoError(t, err)
	require.Len(t, all.whole, 1)
	return &all.whole[0]
}

func none(string) bool { return false }

// describe writes id, end, start and whether there is an address of each
// instance: "a@09:20:00", "b(ended)", "c+address".
func describe(all []instance) string {
	var words []string
	for _, c := range all {
		word := c.ID
		if c.ended {
			word += "(ended)"
		}
		if !c.Created.IsZero() {
			word += "@" + c.Created.Format(time.TimeOnly)
		}
		if len(c.Addresses) > 0 {
			word += "+address"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// TestInstances: which of a container's starts live, and when they were.
func TestInstances(t *testing.T) {
	f := func(status, want string) {
		t.Helper()
		p := podOf(t, ``, `"containerStatuses":[{"name":"main",`+status+`}]`)
		if got := describe(containersOf(p, none)); got != want {
			t.Errorf("%s: %q, want %q", status, got, want)
		}
	}
	const ten, eleven = `"startedAt":"2026-03-02T10:00:00Z"`, `"startedAt":"2026-03-02T11:00:00Z"`
	f(`"containerID":""`, "")
	f(`"containerID":"containerd://"`, "")
	f(`"containerID":"a"`, "")
	f(`"state":{"waiting":{"reason":"ContainerCreating"}}`, "")
	f(`"containerID":"x://a","state":{"running":{`+ten+`}}`, "a@10:00:00")
	f(`"containerID":"x://a","state":{"running":{"startedAt":null}}`, "a")
	f(`"containerID":"x://a","state":{"running":{"startedAt":"soon"}}`, "a")
	f(`"containerID":"x://a","state":{"terminated":{`+ten+`}}`, "a(ended)@10:00:00")
	f(`"containerID":"x://b","state":{"running":{`+eleven+`}},"lastState":{"terminated":{"containerID":"x://a",`+ten+`}}`,
		"a(ended)@10:00:00 b@11:00:00")
	f(`"containerID":"x://b","state":{"terminated":{`+eleven+`}},"lastState":{"terminated":{"containerID":"x://a",`+ten+`}}`,
		"a(ended)@10:00:00 b(ended)@11:00:00")
	// It crashed and waits for its next start.
	f(`"containerID":"x://a","state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"containerID":"x://a",`+ten+`}}`,
		"a(ended)@10:00:00")
	// The next one is made, and not started yet.
	f(`"containerID":"x://b","state":{"waiting":{}},"lastState":{"terminated":{"containerID":"x://a",`+ten+`}}`,
		"a(ended)@10:00:00 b")
	f(`"lastState":{"terminated":{"containerID":"x://a",`+ten+`}}`, "a(ended)@10:00:00")
}

// TestAddressIsNotShared: the pod's address is a container's only if no other
// one can have it.
func TestAddressIsNotShared(t *testing.T) {
	f := func(spec, status, want string) {
		t.Helper()
		p := podOf(t, spec, `"podIP":"10.0.0.1",`+status)
		if got := describe(containersOf(p, none)); got != want {
			t.Errorf("%s: %q, want %q", status, got, want)
		}
		if got := podsOf(p)[0].Addresses; !strings.Contains(spec, "hostNetwork") && len(got) != 1 {
			t.Errorf("the pod has %v", got)
		}
	}
	const (
		one    = `"containers":[{"name":"main"}]`
		two    = `"containers":[{"name":"main"},{"name":"side"}]`
		live   = `{"name":"main","containerID":"x://a","state":{"running":{}}}`
		before = `{"name":"main","containerID":"x://b","state":{"running":{}},"lastState":{"terminated":{"containerID":"x://a"}}}`
		ended  = `{"name":"main","containerID":"x://a","state":{"terminated":{}}}`
		side   = `{"name":"side","containerID":"x://s","state":{"running":{}}}`
		dead   = `{"name":"side","containerID":"x://s","state":{"terminated":{}}}`
	)
	f(one, `"containerStatuses":[`+live+`]`, "a+address")
	f(one, `"containerStatuses":[`+before+`]`, "a(ended) b+address")
	f(one, `"containerStatuses":[`+ended+`]`, "a(ended)")
	f(one, `"containerStatuses":[{"name":"main","containerID":"x://a"}]`, "a")
	f(one, `"containerStatuses":[{"name":"main","state":{"running":{}},"lastState":{"terminated":{"containerID":"x://a"}}}]`, "a(ended)")
	f(one, `"containerStatuses":[{"name":"main","state":{"running":{}}}]`, "")
	f(two, `"containerStatuses":[`+live+`,`+side+`]`, "a s")
	f(two, `"containerStatuses":[`+live+`,`+dead+`]`, "a s(ended)")
	f(two, `"containerStatuses":[`+live+`]`, "a")
	f(one, `"containerStatuses":[`+live+`,`+side+`]`, "a s")
	f(``, `"containerStatuses":[`+live+`]`, "a")
	f(one+`,"hostNetwork":true`, `"containerStatuses":[`+live+`]`, "a")
	// Init containers end before, unless they are sidecars.
	f(one+`,"initContainers":[{"name":"side"}]`, `"initContainerStatuses":[`+dead+`],"containerStatuses":[`+live+`]`, "s(ended) a+address")
	f(one+`,"initContainers":[{"name":"side"}]`, `"initContainerStatuses":[`+side+`],"containerStatuses":[`+live+`]`, "s a")
	f(one+`,"initContainers":[{"name":"side"}]`, `"initContainerStatuses":[`+side+`]`, "s")
	f(one+`,"initContainers":[{"name":"side","restartPolicy":"Always"}]`,
		`"initContainerStatuses":[`+dead+`],"containerStatuses":[`+live+`]`, "s(ended) a")
	f(one+`,"ephemeralContainers":[{"name":"side"}]`, `"containerStatuses":[`+live+`]`, "a")
	f(one, `"containerStatuses":[`+live+`],"ephemeralContainerStatuses":[`+dead+`]`, "a s(ended)")
}

// TestCommand: planted secrets stay out.
func TestCommand(t *testing.T) {
	f := func(command, want string) {
		t.Helper()
		p := podOf(t, `"containers":[{"name":"main","command":`+command+`,"args":["-phunter2"]}]`,
			`"containerStatuses":[{"name":"main","containerID":"x://a"}]`)
		all := containersOf(p, none)
		require.Len(t, all, 1)
		if got := all[0].Command; got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
		if text := fmt.Sprintf("%+v", *all[0].Container); strings.Contains(text, "hunter2") {
			t.Errorf("%s: the secret is in %s", command, text)
		}
	}
	f(`null`, "")
	f(`[]`, "")
	f(`["/usr/sbin/nginx","-phunter2"]`, "/usr/sbin/nginx")
	f(`["mysql -u root -phunter2"]`, "mysql")
	f(`["mysql -p$(PASSWORD)"]`, "mysql")
	f(`["MYSQL_PWD=hunter2 mysql"]`, "")
	f(`["--password=hunter2"]`, "")
	f(`["https://root:hunter2@db/run"]`, "")
	f(`["$(PROGRAM)","x"]`, "")
	f(`["$$HOME/bin"]`, "")
}
