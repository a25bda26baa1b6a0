package e2e_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// withoutBTF is a host whose kernel does not describe its types.
var withoutBTF = []string{
	"unshare", "--mount", "--propagation", "private",
	"sh", "-c", `mount -t tmpfs none /sys/kernel/btf && exec "$@"`, "sh",
}

// Where the kernel or the agent's rights do not allow BPF, one line says what is
// missing, and connections are counted as far as looking at them every second tells.
func TestConntrackWithoutBPF(t *testing.T) {
	testkit.NeedBPF(t)
	testkit.NeedCommand(t, "setpriv", "unshare", "mount")
	engine := startRouter(t, noProxy)
	program := buildConnClient(t)
	for _, c := range []struct {
		name    string
		wrap    []string
		because string
		inside  bool // containers' namespaces can be entered
	}{
		{name: "no BTF", wrap: withoutBTF, because: "CONFIG_DEBUG_INFO_BTF", inside: true},
		{name: "no CAP_BPF", wrap: without("bpf", "sys_admin"), because: "CAP_BPF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := program.server(t, engine)
			sink := testkit.NewSink(t)
			s := connSettings(t, sink)
			s.wrap = c.wrap
			a := startAgent(t, s)
			view := newConnView(sink)
			spec := program.container("holder", "hold", "-address", published(t, engine).String(), "-first", "5000")
			if !c.inside {
				// A container in the host's namespace is seen there.
				spec.NetworkMode = "host"
			}
			client := engine.RunContainer(t, spec)
			request, reply := holdsOf(5000)
			outgoing := map[string]any{"network.direction": "outgoing"}
			testkit.Eventually(t, soon, func() error {
				return errors.Join(a.alive(), view.expects(client.ID, "container.connection.active", outgoing, 1),
					view.expects(client.ID, "container.connection.io", map[string]any{"network.io.direction": "transmit"}, float64(request)),
					view.expects(client.ID, "container.connection.io", map[string]any{"network.io.direction": "receive"}, float64(reply)))
			})
			if c.inside {
				require.NoError(t, view.expects(server.ID, "container.connection.active", map[string]any{"network.direction": "incoming"}, 1))
			}
			require.Len(t, parseTold(t, ended(t, client, "SIGTERM")), 1)
			testkit.Eventually(t, soon, func() error {
				return errors.Join(a.alive(), view.expects(client.ID, "container.connection.active", nil, 0),
					view.expects(client.ID, "container.connection.count", outgoing, 1))
			})
			if c.inside {
				// Behind translation, also when it is over.
				for metric, want := range map[string]int{"connections": 1, "io": request + reply} {
					edge := map[string]any{"peer.container.id": server.ID, "server.port": int64(servedPort)}
					require.NoError(t, view.expects(client.ID, "container.edge."+metric, edge, float64(want)))
					require.NoError(t, view.expects(client.ID, "container.edge."+metric, nil, float64(want)))
				}
			}
			log, code := a.stop()
			require.Zero(t, code, log)
			require.Empty(t, complaints(log))
			require.Empty(t, view.closed[client.ID], "a look is no record")
			said := linesWith(log, "BPF is refused")
			require.Len(t, said, 1, log)
			require.Contains(t, said[0], c.because)
			cannot := linesWith(log, "open connections of containers are not counted")
			require.Equal(t, !c.inside, len(cannot) == 1, log)
			require.Equal(t, c.inside, len(cannot) == 0, log)
		})
	}
}

func linesWith(log, words string) []string {
	var found []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, words) {
			found = append(found, line)
		}
	}
	return found
}

// What was asked for by name is not replaced by something else.
func TestConntrackForcedTierMissing(t *testing.T) {
	testkit.NeedBPF(t)
	testkit.NeedCommand(t, "setpriv", "unshare", "mount")
	for _, c := range []struct {
		name, missing string
		wrap          []string
	}{
		{"no BTF", "BTF", withoutBTF},
		{"no CAP_BPF", "CAP_BPF", without("bpf", "sys_admin")},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := connSettings(t, testkit.NewSink(t), "receivers::ebpf_conntrack::nat: pull")
			s.wrap = c.wrap
			log, code := launch(t, s).wait(refuseWithin)
			require.Positive(t, code, "ended without an error (-1: by a signal)")
			require.NotContains(t, log, "goroutine ")
			for _, word := range []string{"ebpf_conntrack", "nat: ", c.missing} {
				require.Contains(t, lastWords(log), word)
			}
			t.Log(lastWords(log))
		})
	}
}

// A wrong value is refused before anything is started, with its field.
func TestConntrackBadConfig(t *testing.T) {
	t.Parallel()
	f := func(name, field, value string, names ...string) mistake {
		return mistake{
			name: name, set: []string{"receivers::ebpf_conntrack::" + field + ": " + value},
			names: append(names, "ebpf_conntrack"),
		}
	}
	for _, m := range []mistake{
		f("unknown nat", "nat", "foo", "nat", `"foo"`, "pull"),
		f("unknown events", "events", "foo", "events", `"foo"`, "unusual"),
		f("unknown response times", "response_times", "foo", "response_times", `"foo"`),
		f("no range", "groups", "[{name: lab, prefixes: [10.0.0.0/33]}]", "groups", "prefixes", "10.0.0.0/33"),
		f("address for a range", "groups", "[{name: lab, prefixes: [lab.example]}]", "groups", "prefixes", "lab.example"),
		f("no ranges", "groups", "[{name: lab}]", "groups", "prefixes"),
		f("no name", "groups", `[{name: "", prefixes: [10.0.0.0/8]}]`, "groups", "name"),
		f("no interval", "collection_interval", "0s", "collection_interval"),
		f("zero as interval", "collection_interval", "0", "collection_interval"),
		f("negative interval", "collection_interval", "-1s", "collection_interval"),
		f("no duration", "collection_interval", "often", "collection_interval"),
		f("relative root", "root_path", "hostfs", "root_path", `"hostfs"`),
		f("no boolean", "process_events", "perhaps", "process_events"),
		f("unknown key", "natt", "pull", "natt"),
	} {
		t.Run(m.name, func(t *testing.T) {
			log, code := launch(t, settings{set: m.set}).wait(refuseWithin)
			require.Positive(t, code, "ended without an error (-1: by a signal)")
			require.NotContains(t, log, "goroutine ")
			for _, name := range m.names {
				require.Contains(t, lastWords(log), name)
			}
			t.Log(lastWords(log))
		})
	}
}
