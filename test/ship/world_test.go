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
	// What the host is called to agents.
	hostName, machineID, osName = "ship-host", "0123456789abcdef0123456789abcdef", "Ship 1"
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
	// first stands in for process 1 where root may not ask that one for its network
	// namespace, which is where conntrack is asked: some hypervisors' init does not let
	// itself be looked at. It is the path of this process, which is in the same namespaces.
	first string

	subject *testkit.Container // serves a page of metrics, and has connections
	dialer  *testkit.Container // makes them, and writes lines
}

func newWorld(t *testing.T) *world {
	t.Helper()
	testkit.NeedBPF(t)
	testkit.NeedCommand(t, "docker", "docker-compose", "go", "git", "iptables")
	w := &world{engine: testkit.Docker(t), name: fmt.Sprintf("ship%08x", rand.Uint32()), client: t.TempDir()}
	info, err := w.engine.Client().Info(t.Context(), client.InfoOptions{})
	require.NoError(t, err)
	w.at = places{docker: info.Info.DockerRootDir, etc: t.TempDir(), profile: readProfile(t).without(t, "")}
	for name, text := range map[string]string{
		"hostname": hostName + "\n", "machine-id": machineID + "\n", "os-release": "PRETTY_NAME=\"" + osName + "\"\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(w.at.etc, name), []byte(text), 0o644))
	}
	if os.Getenv(keepEnv) != "keep" {
		w.command(t, "../../scripts/build.sh")
		w.command(t, "../../scripts/image.sh")
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(w.client, "client"), "../e2e/statsdclient")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	if _, err = os.Readlink("/proc/1/ns/net"); err != nil {
		w.first = fmt.Sprintf("/proc/%d", os.Getpid())
		t.Logf("agents see %s in the place of process 1: %v", w.first, err)
	}
	w.populate(t)
	return w
}

// Ports of the subject behind an address that is translated: natPage serves the page, natHold
// answers what it gets. The dialer's are one lower.
const natPage, natHold = "8082", "9992"

// populate starts what there is to be seen: a page of metrics that a label asks to be
// read, connections that stay, and many that end at once; of both kinds one directly and
// one by an address that is translated.
func (w *world) populate(t *testing.T) {
	t.Helper()
	w.subject = w.engine.RunContainer(t, testkit.ContainerSpec{
		Name: w.name + "-subject",
		Labels: map[string]string{
			"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "prometheus.io/path": "/metrics.txt",
		},
		Cmd: shell(fmt.Sprintf(`mkdir /www; printf 'ship_page_value 42\n' >/www/metrics.txt; nc -ll -p 9999 -e cat & nc -ll -p %s -e cat &
httpd -p %s -h /www; exec httpd -f -p 8080 -h /www`, natHold, natPage)),
	})
	at := fmt.Sprintf("198.18.%d.%d", rand.IntN(256), 1+rand.IntN(254)) // RFC 2544: of no network
	w.dialer = w.engine.RunContainer(t, testkit.ContainerSpec{
		Name: w.name + "-dialer",
		// It waits for the rules of the host; what is open for both never ends.
		Cmd: shell(fmt.Sprintf(`until [ -e /go ]; do sleep 0.1; done; mkfifo /hold; while :; do nc %[1]s 9999 <>/hold; sleep 1; done &
while :; do while echo x; do sleep 1; done | nc %[3]s 9991; sleep 1; done &
while :; do wget -q -O /dev/null http://%[1]s:8080/metrics.txt; wget -q -O /dev/null http://%[3]s:8081/metrics.txt
echo %[2]q; sleep 1; done`, w.address(t, w.subject), marker, at)),
	})
	w.translate(t, at)
	result, err := w.dialer.Exec(t.Context(), "touch", "/go")
	require.NoError(t, err)
	require.Zero(t, result.ExitCode, result.Output)
}

// translate makes the host translate the address to the subject's, and the dialer's to its
// own, so that answers come back the same way.
func (w *world) translate(t *testing.T, at string) {
	t.Helper()
	from, to := w.address(t, w.dialer), w.address(t, w.subject)
	for _, rule := range []string{
		"-t nat -I PREROUTING -d " + at + " -p tcp --dport 8081 -j DNAT --to-destination " + to + ":" + natPage,
		"-t nat -I PREROUTING -d " + at + " -p tcp --dport 9991 -j DNAT --to-destination " + to + ":" + natHold,
		"-t nat -I POSTROUTING -s " + from + " -d " + to + " -m conntrack --ctstate DNAT -j MASQUERADE",
		"-I FORWARD -s " + from + " -d " + to + " -j ACCEPT",
		"-I FORWARD -s " + to + " -d " + from + " -j ACCEPT",
	} {
		w.command(t, "iptables", append([]string{"-w"}, strings.Fields(rule)...)...)
		t.Cleanup(func() {
			w.command(t, "iptables", append([]string{"-w"}, strings.Fields(strings.Replace(rule, "-I ", "-D ", 1))...)...)
		})
	}
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
			isAsked := strings.Contains(line, "process_events: nobody tells of processes here") // by these tests alone
			isQuiet = isAsked || fields[1] == "info" || fields[1] == "debug" || strings.Contains(fields[2], `"discovery.rule": `) || isGone || isBusy
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
