package ship_test

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// largest is the image by `docker save | gzip -9`, in bytes.
const largest = 45_000_000

// TestShip is one test because its parts share the image, the engine and what there is
// to be seen.
func TestShip(t *testing.T) {
	w := newWorld(t)
	c := w.startCompose(t, full)
	w.at.volumes = map[string]string{"socket": c.socketVolume(t)}
	page := readPage(t)
	// Within one more, so that what they share outlives them.
	t.Run("parts", func(t *testing.T) {
		part := func(name string, test func(*testing.T)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel() // as many as -parallel says: agents mostly wait
				test(t)
			})
		}
		for _, set := range []string{full, noBPF, least} {
			part(set, func(t *testing.T) { w.set(t, page, set) })
		}
		for _, l := range page.losses {
			part("without "+l.without, func(t *testing.T) { w.without(t, page, l) })
		}
		part("compose", c.works)
		for _, set := range []string{noBPF, least} {
			part("compose "+set, func(t *testing.T) { w.startCompose(t, set).works(t) })
		}
		part("token of one's own", w.ownToken)
		part("stranger", w.stranger)
		part("size", w.size)
		part("filter of calls", func(t *testing.T) { w.filtered(t, page) })
	})
}

// set is that a set yields its features, no other ones, and nothing to complain of.
func (w *world) set(t *testing.T, page rights, set string) {
	a := w.start(t, slug(set), of(page.options, set))
	a.ready(t)
	a.provoke(t)
	wanted := of(page.features, set)
	require.ElementsMatch(t, wanted, a.shows(t, wanted))
	for _, l := range page.losses {
		isMissing := !slices.Contains(of(page.options, set), l.without) && slices.Contains(of(page.options, full), l.without)
		if isMissing && !l.isHarmless() {
			a.says(t, l, false)
		}
	}
	if set == full {
		a.reports(t)
	}
	log, err := a.Logs(t.Context())
	require.NoError(t, err)
	require.Empty(t, complaints(log))
	a.ends(t)
}

// without is that what is taken away costs what the page says and no more, and that
// somebody says so.
func (w *world) without(t *testing.T, page rights, l loss) {
	options := slices.DeleteFunc(of(page.options, full), func(option string) bool { return option == l.without })
	var hidden []string
	one := *w
	if call, ok := strings.CutPrefix(l.without, "seccomp "); ok {
		one.at.profile = readProfile(t).without(t, call)
	} else if strings.HasPrefix(l.without, "/") {
		hidden = append(hidden, l.without)
	}
	a := one.start(t, "without-"+slug(l.without), options, hidden...)
	if l.dead {
		testkit.Eventually(t, soon, func() error { return a.ended(t) })
		a.says(t, l, true)
		return
	}
	a.ready(t)
	a.provoke(t)
	wanted := slices.DeleteFunc(of(page.features, full), func(name string) bool {
		return slices.Contains(l.lost, name) && !l.isHarmless()
	})
	there := a.shows(t, wanted)
	a.says(t, l, true)
	require.ElementsMatch(t, wanted, there, "without %s", l.without)
	a.ends(t)
}

// ended is nil when the agent has ended by itself, with an error.
func (a *agent) ended(t *testing.T) error {
	t.Helper()
	info, err := a.Inspect(t.Context())
	if err != nil {
		return err
	}
	if info.State.Running || info.State.ExitCode == 0 {
		return errMissing
	}
	return nil
}

// slug is a name that an engine takes.
func slug(text string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '.'
	}, text), ".")
}

// stranger is the call in deploy/Dockerfile and docs/privileges.md: somebody who has read
// nothing else gets the page.
func (w *world) stranger(t *testing.T) {
	name := w.name + "-stranger"
	w.docker(t, "run", "-d", "--name", name, "--pid", "host", "-v", "/:/hostfs:ro", "-p", "127.0.47.12::9480", image)
	t.Cleanup(func() { w.docker(t, "rm", "-f", "-v", name) })
	var token string
	testkit.Eventually(t, soon, func() error {
		result, err := w.engine.Client().ContainerLogs(t.Context(), name, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
		if err != nil {
			return err
		}
		defer result.Close()
		log, err := io.ReadAll(result)
		if err == nil && !strings.Contains(string(log), "docker exec CONTAINER /tallymanctl token") {
			err = errMissing
		}
		return err
	})
	token = w.docker(t, "exec", name, "/tallymanctl", "token")
	address := w.docker(t, "port", name, "9480/tcp")
	require.NotContains(t, w.docker(t, "logs", name), token, "the token is in the log")
	testkit.Eventually(t, soon, func() error { return answers("http://"+address+"/api/status", token, http.StatusOK) })
	require.NoError(t, answers("http://"+address+"/", "", http.StatusOK))
	require.NoError(t, answers("http://"+address+"/api/status", "", http.StatusUnauthorized))
	// HEALTHCHECK of the image, as it is.
	info, err := w.engine.Client().ImageInspect(t.Context(), image)
	require.NoError(t, err)
	require.Equal(t, []string{"CMD", "/tallymanctl", "health"}, info.Config.Healthcheck.Test)
	w.healthy(t)
}

// ownToken is that a token which is mounted is the one that is asked for.
func (w *world) ownToken(t *testing.T) {
	const token = "a-token-that-somebody-has-brought-0123456789"
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
	a := w.start(t, "token", []string{"--pid host", "-v /:/hostfs:ro", "-v " + file + ":/run/secrets/token:ro", "-v state:/var/lib/tallyman",
		"-v statsd:/run/tallyman", "-e TALLYMAN_TOKEN_FILE=/run/secrets/token"})
	a.ready(t)
	url := "http://" + a.address + ":9480/api/status"
	require.NoError(t, answers(url, token, http.StatusOK))
	require.NoError(t, answers(url, "", http.StatusUnauthorized))
	require.NoError(t, answers(url, token[1:], http.StatusUnauthorized))
	require.NoFileExists(t, filepath.Join(a.state, "recorder-token"), "another one was made")
	result, err := a.Exec(t.Context(), "/tallymanctl", "token")
	require.NoError(t, err)
	require.Equal(t, token+"\n", result.Output)
}

// healthy is that the engine finds out by itself, asked more often than by default.
func (w *world) healthy(t *testing.T) {
	c := w.engine.RunContainer(t, testkit.ContainerSpec{
		Name: w.name + "-health", Image: image, Binds: []string{"/:/hostfs:ro"}, PidMode: "host",
		Adjust: func(c *container.Config, _ *container.HostConfig) {
			c.Cmd = nil
			c.Healthcheck = &container.HealthConfig{Interval: time.Second}
		},
	})
	testkit.Eventually(t, soon, func() error {
		info, err := c.Inspect(t.Context())
		if err == nil && (info.State.Health == nil || info.State.Health.Status != container.Healthy) {
			err = errMissing
		}
		return err
	})
}

// size is all layers, compressed as well as gzip can.
func (w *world) size(t *testing.T) {
	testkit.NeedCommand(t, "gzip")
	saved, err := w.engine.Client().ImageSave(t.Context(), []string{image})
	require.NoError(t, err)
	defer saved.Close()
	var n counter
	cmd := exec.CommandContext(t.Context(), "gzip", "-9")
	cmd.Stdin, cmd.Stdout = saved, &n
	require.NoError(t, cmd.Run())
	t.Logf("%s: %.1f MB compressed", image, float64(n)/1e6)
	require.LessOrEqual(t, int64(n), int64(largest))
}

// counter counts what is written to it.
type counter int64

func (n *counter) Write(b []byte) (int, error) {
	*n += counter(len(b))
	return len(b), nil
}
