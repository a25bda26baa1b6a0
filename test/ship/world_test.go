package ship_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// soon is for what takes up to twenty seconds on an idle machine: connections are
	// looked at every ten.
	soon = 4 * time.Minute
	// image is what `make image` makes.
	image = "tallyman:dev"
	// marker is a line that a container writes.
	marker = "written by the dialer"
	// keepEnv set to "keep" takes the engine's image as it is.
	keepEnv = "TALLYMAN_SHIP"
)

var errMissing = errors.New("not there")

// world is what all agents of a run look at.
type world struct {
	engine *testkit.Engine
	name   string // begins all names of this run
	at     places
	client string // directory with the program that sends custom metrics
	// hasHome: process 1 may be asked for its network namespace, which is where conntrack
	// is asked. Not everywhere may root do that.
	hasHome bool

	subject *testkit.Container // serves a page of metrics, and has connections
	dialer  *testkit.Container // makes them, and writes lines
}

func newWorld(t *testing.T) *world {
	t.Helper()
	testkit.NeedBPF(t)
	testkit.NeedCommand(t, "docker", "docker-compose", "go", "git")
	w := &world{engine: testkit.Docker(t), name: fmt.Sprintf("ship%08x", rand.Uint32()), client: t.TempDir()}
	info, err := w.engine.Client().Info(t.Context(), client.InfoOptions{})
	require.NoError(t, err)
	w.at = places{docker: info.Info.DockerRootDir, profile: readProfile(t).without(t, "")}
	if os.Getenv(keepEnv) != "keep" {
		w.command(t, "../../scripts/build.sh")
		w.command(t, "../../scripts/image.sh")
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(w.client, "client"), "../e2e/statsdclient")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	if _, err = os.Readlink("/proc/1/ns/net"); err != nil {
		t.Logf("nat is not looked at: no agent in a container gets to the host's network namespace here: %v", err)
	}
	w.hasHome = err == nil
	w.populate(t)
	return w
}

// features are those of a set that this host can show.
func (w *world) features(page rights, set string) []string {
	return slices.DeleteFunc(of(page.features, set), func(name string) bool { return name == "nat" && !w.hasHome })
}

// populate starts what there is to be seen: a page of metrics that a label asks to be
// read, a connection that stays, and many that end at once.
func (w *world) populate(t *testing.T) {
	t.Helper()
	w.subject = w.engine.RunContainer(t, testkit.ContainerSpec{
		Name: w.name + "-subject",
		Labels: map[string]string{
			"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "prometheus.io/path": "/metrics.txt",
		},
		Cmd: shell(`mkdir /www; printf 'ship_page_value 42\n' >/www/metrics.txt; nc -ll -p 9999 -e cat & exec httpd -f -p 8080 -h /www`),
	})
	w.dialer = w.engine.RunContainer(t, testkit.ContainerSpec{
		Name: w.name + "-dialer",
		// The server may not listen yet; what is open for both never ends.
		Cmd: shell(fmt.Sprintf(`mkfifo /hold; while :; do nc %[1]s 9999 <>/hold; sleep 1; done &
while :; do wget -q -O /dev/null http://%[1]s:8080/metrics.txt; echo %[2]q; sleep 1; done`, w.address(t, w.subject), marker)),
	})
}

func shell(script string) []string { return []string{"sh", "-c", script} }

// address is the container's on the engine's own network, which this host reaches.
func (w *world) address(t *testing.T, c *testkit.Container) string {
	t.Helper()
	info, err := c.Inspect(t.Context())
	require.NoError(t, err)
	for _, network := range info.NetworkSettings.Networks {
		if network.IPAddress.IsValid() {
			return network.IPAddress.String()
		}
	}
	t.Fatalf("container %s has no address", c.Name)
	return ""
}

// command runs a program that is to use the engine, and returns what it says.
func (w *world) command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+w.engine.Host())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
	return strings.TrimSpace(string(out))
}

// docker is what a user types.
func (w *world) docker(t *testing.T, args ...string) string {
	t.Helper()
	return w.command(t, "docker", args...)
}

// ask gets a page, with a token if there is one.
func ask(url, token string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Close = true // a kept connection would look like a leak
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	patient := http.Client{Timeout: time.Minute}
	return patient.Do(request)
}

// get returns the body of a page that answers 200.
func get(url, token string) (string, error) {
	response, err := ask(url, token)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return "", fmt.Errorf("get %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("get %s: %w: %s", url, errStatus, response.Status)
	}
	return string(body), nil
}

// complaints are what an agent's log has at level warn and above, and what is no line of
// it, such as a panic. Left out is what is about containers of tests beside this one: what a
// receiver says that discovery has started, and files that go while they are looked for;
// and that a machine is too busy for the agent to get its own metrics in ten seconds.
func complaints(log string) []string {
	var found []string
	isQuiet := false
	for line := range strings.Lines(log) {
		fields := strings.SplitN(line, "\t", 3)
		switch {
		case len(fields) == 3 && strings.HasPrefix(line, "20"):
			isGone := strings.Contains(line, "Failed to open file") && strings.Contains(line, "no such file or directory")
			isBusy := strings.Contains(line, "http://localhost:8888/metrics") && strings.Contains(line, "context deadline exceeded")
			isQuiet = fields[1] == "info" || fields[1] == "debug" || strings.Contains(fields[2], `"discovery.rule": `) || isGone || isBusy
		case strings.HasPrefix(line, "panic:"), strings.HasPrefix(line, "fatal error:"), strings.HasPrefix(line, "Error:"):
			isQuiet = false
		}
		if !isQuiet { // a stack below a line is of that line
			found = append(found, line)
		}
	}
	return found
}

func TestComplaints(t *testing.T) {
	const quiet = "2026-11-22T18:00:41.897Z\tinfo\ta.go:1\tstarted\n"
	const gone = "2026-11-22T18:00:41.897Z\terror\tb.go:2\tFailed to open file\t{\"error\": \"open /x: no such file or directory\"}\nstack\n\tc.go:3\n"
	require.Empty(t, complaints(quiet+gone+quiet))
	for _, loud := range []string{
		"2026-11-22T18:00:41.897Z\twarn\ta.go:1\tmind this\n", "panic: nil\n", "Error: invalid configuration\n",
		"2026-11-22T18:00:41.897Z\terror\tb.go:2\tFailed to open file\t{\"error\": \"permission denied\"}\n",
	} {
		require.Equal(t, []string{loud}, complaints(gone+loud))
	}
	require.NotEmpty(t, complaints("usage: nonsense\n"))
}
