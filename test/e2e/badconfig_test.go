package e2e_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// refuseWithin is what the agent may take to find out that it cannot start.
const refuseWithin = 30 * time.Second

// mistake is one wrong setting, and what the agent's last words must name.
type mistake struct {
	name  string
	set   []string
	names []string
	settings
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, m := range slices.Concat(receiverMistakes(t, file), startMistakes(t, file, busy.Addr().String())) {
		t.Run(m.name, func(t *testing.T) {
			s := m.settings
			s.set = m.set
			a := launch(t, s)
			log, code := a.wait(refuseWithin)
			t.Logf("exit code %d, %s", code, lastWords(log))
			require.Positive(t, code, "ended without an error (-1: by a signal)")
			for _, name := range m.names {
				require.Contains(t, lastWords(log), name)
			}
		})
	}
}

// receiverMistakes are those in the settings of the cgroup receiver.
func receiverMistakes(t *testing.T, file string) []mistake {
	t.Helper()
	f := func(name, field, value string, names ...string) mistake {
		return mistake{
			name:  name,
			set:   []string{"receivers::cgroup::" + field + ": " + value},
			names: append(names, "cgroup"),
		}
	}
	empty := t.TempDir()
	return []mistake{
		f("unknown class", "classes", "[containr]", "classes", `"containr"`),
		f("no class", "classes", "[]", "classes"),
		f("negative interval", "collection_interval", "-1s", "collection_interval"),
		f("no duration", "collection_interval", "often", "collection_interval", "duration"),
		f("relative root", "root_path", "hostfs", "root_path", `"hostfs"`),
		f("missing root", "root_path", "/does/not/exist", "root_path", "/does/not/exist"),
		f("root is a file", "root_path", file, "root_path", file),
		f("root without cgroups", "root_path", empty, "root_path", empty),
		f("unknown reader", "reader", "fles", "reader", `"fles"`),
		f("reader of a later version", "reader", "bpf", "reader", `"bpf"`),
		f("unknown process stream", "process_stream", "on", "process_stream"),
		f("bad glob", "include", `{cgroup_path: ["/docker/["]}`, "include::cgroup_path", "/docker/["),
		f("negative slow interval", "memory_stat_interval", "-1s", "memory_stat_interval"),
		f("negative files", "max_open_files", "-1", "max_open_files"),
		f("unknown key", "colection_interval", "1s", "colection_interval"),
	}
}

// lastWords are what of a log a user sees at its end.
func lastWords(log string) string { return log[max(0, len(log)-2000):] }

// startMistakes are found when components start. File is a regular one, busy an
// address that somebody listens on.
func startMistakes(t *testing.T, file, busy string) []mistake {
	t.Helper()
	// Below a regular file nobody can make a directory, not even root.
	unwritable := filepath.Join(file, "state")
	overlay := []string{"otelcol-config.yaml", "deploy/otlp.yaml"}
	return []mistake{
		{
			name: "unknown component", set: []string{"receivers::cgruop::reader: files"},
			names: []string{"cgruop"},
		},
		{
			name: "busy port", set: []string{"exporters::prometheus::endpoint: " + busy},
			names: []string{"prometheus", busy, "address already in use"},
		},
		{
			name: "unwritable state", settings: settings{state: unwritable},
			names: []string{"file_storage/logs", unwritable, "not a directory"},
		},
		{
			// The place for the offsets of logs is fine here, so that the socket says it.
			name: "unwritable state of the socket", settings: settings{state: unwritable},
			set: []string{
				"extensions::file_storage/logs::directory: " + t.TempDir(),
				"extensions::flight_recorder::directory: " + t.TempDir(),
			},
			names: []string{"docker_filter", "endpoint", file, "not a directory"},
		},
		{
			// The place for the socket is fine here, too, so that the events say it.
			name: "unwritable state of events", settings: settings{state: unwritable},
			set: []string{
				"extensions::file_storage/logs::directory: " + t.TempDir(),
				"extensions::docker_filter::endpoint: unix://" + filepath.Join(t.TempDir(), "docker.sock"),
				"extensions::flight_recorder::directory: " + t.TempDir(),
			},
			names: []string{"file/events", file, "not a directory"},
		},
		{
			name: "unwritable state of the recorder", settings: settings{state: unwritable},
			set: []string{
				"extensions::file_storage/logs::directory: " + t.TempDir(),
				"extensions::docker_filter::endpoint: unix://" + filepath.Join(t.TempDir(), "docker.sock"),
			},
			names: []string{"flight_recorder", "directory", file, "not a directory"},
		},
		{
			name: "busy port of the recorder", set: []string{"extensions::flight_recorder::endpoint: " + busy},
			names: []string{"flight_recorder", "endpoint", busy},
		},
		{
			// All other places are fine here, so that the queue is the one to say it.
			name:     "unwritable state of the queue",
			settings: settings{state: unwritable, configs: overlay, env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"}},
			set: []string{
				"extensions::file_storage/logs::directory: " + t.TempDir(),
				"exporters::file/events::path: " + filepath.Join(t.TempDir(), "events.jsonl"),
				"extensions::docker_filter::endpoint: unix://" + filepath.Join(t.TempDir(), "docker.sock"),
				"extensions::flight_recorder::directory: " + t.TempDir(),
			},
			names: []string{"file_storage", unwritable},
		},
		{
			name: "no backend", settings: settings{configs: overlay, env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT="}},
			names: []string{"otlp_grpc", "endpoint"},
		},
	}
}
