package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestRun(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	release := make(chan struct{})
	hangs := func(context.Context) []Result { <-release; return nil }
	report := Run(t.Context(), []Check{
		{Name: "a", Title: "A", Run: single(func(context.Context) Result { return Result{Status: Pass, Found: "x"} })},
		{Name: "b", Title: "B", Run: func(context.Context) []Result {
			return []Result{{Name: "b.1", Title: "B1", Status: Warn}, {Name: "b.2", Title: "B2", Status: Fail}}
		}},
		{Name: "c", Title: "C", Run: func(context.Context) []Result { return nil }},
		{Name: "d", Title: "D", Run: single(func(context.Context) Result { return Result{} })},
		{Name: "e", Title: "E", Timeout: time.Millisecond, Run: hangs},
		{Name: "f", Title: "F", Run: func(context.Context) []Result { panic("defect of f") }},
	})
	close(release) // the one that was left behind ends
	require.Equal(t, Summary{Pass: 1, Warn: 1, Fail: 1, Unknown: 4}, report.Summary)
	var names []string
	for _, r := range report.Checks {
		names = append(names, r.Name+" "+r.Title+" "+string(r.Status))
	}
	require.Equal(t, []string{
		"a A pass", "b.1 B1 warn", "b.2 B2 fail", "c C unknown", "d D unknown", "e E unknown", "f F unknown",
	}, names)
	require.Equal(t, errNoResult.Error(), report.Checks[3].Error)
	require.Equal(t, context.DeadlineExceeded.Error(), report.Checks[5].Error)
	require.Contains(t, report.Checks[6].Error, "panic: defect of f")
	require.Contains(t, report.Checks[6].Error, "doctor_test.go", "the stack says where")
}

func TestRunThatIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	looked := false
	report := Run(ctx, []Check{{Name: "a", Run: single(func(context.Context) Result { looked = true; return Result{Status: Pass} })}})
	require.False(t, looked)
	require.Equal(t, Summary{Unknown: 1}, report.Summary)
	require.Equal(t, context.Canceled.Error(), report.Checks[0].Error)
}

// The names in JSON are what others build on.
func TestJSONForm(t *testing.T) {
	text, err := json.Marshal(Run(t.Context(), []Check{{Name: "a.b", Title: "A", Run: single(func(context.Context) Result {
		return Result{Status: Fail, Found: "f", Meaning: "m", Remedy: "r", Error: "e"}
	})}}))
	require.NoError(t, err)
	const want = `{"checks":[{"name":"a.b","title":"A","status":"fail","found":"f","meaning":"m","remedy":"r","error":"e"}],` +
		`"summary":{"pass":0,"warn":0,"fail":1,"unknown":0}}`
	require.Equal(t, want, string(text))
	text, err = json.Marshal(Run(t.Context(), nil))
	require.NoError(t, err)
	require.Equal(t, `{"checks":[],"summary":{"pass":0,"warn":0,"fail":0,"unknown":0}}`, string(text))
}

func TestFromEnv(t *testing.T) {
	f := func(env map[string]string, want Options) {
		t.Helper()
		if diff := cmp.Diff(want, FromEnv(func(name string) string { return env[name] })); diff != "" {
			t.Errorf("%v (-want +got):\n%s", env, diff)
		}
	}
	f(nil, Options{Roots: hostfs.NewRoots("/"), DockerHost: "unix:///var/run/docker.sock", StateDir: "/var/lib/tallyman", StatsdDir: "/run/tallyman"})
	f(map[string]string{"TALLYMAN_ROOT": "/hostfs", "DOCKER_HOST": "unix:///x", "TALLYMAN_STATE": "/s", "TALLYMAN_STATSD_DIR": "/d"},
		Options{Roots: hostfs.NewRoots("/hostfs"), DockerHost: "unix:///x", StateDir: "/s", StatsdDir: "/d"})
}

// options are those of this host, whatever the environment of the tests says.
func options() Options { return FromEnv(func(string) string { return "" }) }

// Everything that can run here, runs; what is not as it should be says what it
// means and what to do.
func TestThisHost(t *testing.T) {
	testkit.NeedBPF(t)
	testkit.VerifyNoLeaks(t)
	o := options()
	o.StateDir, o.StatsdDir = t.TempDir(), t.TempDir()
	report := Run(t.Context(), Checks(o))
	require.Len(t, report.Checks, len(Checks(o))-2+len(wantedCapabilities)+len(programs))
	require.Zero(t, report.Summary.Fail, "%+v", report.Checks)
	var names []string
	for _, r := range report.Checks {
		names = append(names, r.Name)
		checkResult(t, r)
		if strings.HasPrefix(r.Name, "bpf.") {
			require.Equal(t, Pass, r.Status, "%+v", r)
		}
	}
	slices.Sort(names)
	require.Len(t, slices.Compact(names), len(report.Checks), "each id is there once")
}

func TestHostThatIsNotThere(t *testing.T) {
	o := options()
	o.Roots = hostfs.NewRoots("/nowhere")
	report := Run(t.Context(), Checks(o))
	got := map[string]Status{}
	for _, r := range report.Checks {
		checkResult(t, r)
		got[r.Name] = r.Status
	}
	require.Equal(t, Fail, got["host.root"])
	require.Equal(t, Fail, got["cgroup.version"])
	require.Equal(t, Unknown, got["kernel.psi"])
	require.Equal(t, Unknown, got["kernel.lockdown"])
}

// checkResult asks for what a reader needs.
func checkResult(t *testing.T, r Result) {
	t.Helper()
	if r.Name == "" || r.Title == "" || r.Found == "" || r.Meaning == "" || strings.Contains(r.Found, "\n") {
		t.Errorf("incomplete: %+v", r)
	}
	if len(r.Title) > 22 {
		t.Errorf("title %q leaves no room for what is found", r.Title)
	}
	for _, text := range []string{r.Meaning, r.Remedy} {
		if text != "" && !strings.HasSuffix(text, ".") {
			t.Errorf("%s: %q is not a sentence", r.Name, text)
		}
	}
	if (r.Status == Pass) != (r.Remedy == "") {
		t.Errorf("%s is %s with remedy %q", r.Name, r.Status, r.Remedy)
	}
	if r.Status == Pass && r.Error != "" || r.Status == Unknown && r.Error == "" {
		t.Errorf("%s is %s with error %q", r.Name, r.Status, r.Error)
	}
}

var errTest = errors.New("an error of this test")
