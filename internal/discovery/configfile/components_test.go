package configfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/internal/discovery/configfile"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// agent is a program that answers like one.
func agent(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tallyman")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// answer is what `tallyman components` of v0.158 prints, shortened.
const answer = `
buildinfo:
    command: tallyman
receivers:
    - name: file_log
      module: github.com/open-telemetry/opentelemetry-collector-contrib/receiver/filelogreceiver v0.158.0
      stability:
        logs: Beta
        metrics: Undefined
        traces: Undefined
    - name: otlp
      stability: {logs: Stable, metrics: Stable, traces: Stable}
    - name: zipkin
      stability: {logs: Undefined, metrics: Undefined, traces: Beta}
processors: []
`

func TestReceivers(t *testing.T) {
	got, err := configfile.Receivers(t.Context(), agent(t, "[ \"$*\" = components ] || exit 3\ncat <<'EOF'"+answer+"EOF\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := configfile.Available{"file_log": spec.Logs, "otlp": spec.All, "zipkin": 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for typ, signals := range map[string]spec.Signals{"file_log": spec.Logs, "filelog": spec.Logs, "zipkin": 0} {
		if found, ok := got.Find(typ); !ok || found != signals {
			t.Errorf("%s: %v %t", typ, found, ok)
		}
	}
	for _, typ := range []string{"redis", "zip_kin", ""} {
		if _, ok := got.Find(typ); ok {
			t.Errorf("%q is there", typ)
		}
	}
}

func TestReceiversOfNoAgent(t *testing.T) {
	f := func(program, names string) {
		t.Helper()
		if _, err := configfile.Receivers(t.Context(), program); err == nil || !strings.Contains(err.Error(), names) {
			t.Error(err)
		}
	}
	f("/nowhere/tallyman", "/nowhere/tallyman")
	f(agent(t, "exit 1\n"), "exit status 1")
	f(agent(t, "echo hello\n"), "read answer")
	f(agent(t, "echo 'receivers: []'\n"), "has no receivers")
}
