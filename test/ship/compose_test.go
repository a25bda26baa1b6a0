package ship_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// service is what the tests look at of a service of a Compose file.
type service struct {
	Image       string            `yaml:"image"`
	Pid         string            `yaml:"pid"`
	Network     string            `yaml:"network_mode"`
	ReadOnly    bool              `yaml:"read_only"`
	Privileged  *bool             `yaml:"privileged"`
	CapAdd      []string          `yaml:"cap_add"`
	CapDrop     []string          `yaml:"cap_drop"`
	SecurityOpt []string          `yaml:"security_opt"`
	Sysctls     map[string]string `yaml:"sysctls"`
	Devices     []string          `yaml:"devices"`
	Labels      map[string]string `yaml:"labels"`
	Environment map[string]string `yaml:"environment"`
	Volumes     []string          `yaml:"volumes"`
	Ports       []string          `yaml:"ports"`
}

func readCompose(t *testing.T, file string) map[string]service {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var compose struct {
		Services map[string]service `yaml:"services"`
	}
	require.NoError(t, yaml.Unmarshal(text, &compose))
	return compose.Services
}

// options are the service's in the words of `docker run`.
func (s service) options() []string {
	var all []string
	add := func(flag string, values ...string) {
		for _, value := range values {
			all = append(all, flag+" "+value)
		}
	}
	add("--pid", s.Pid)
	add("--cap-add", s.CapAdd...)
	add("--cap-drop", s.CapDrop...)
	add("--device", s.Devices...)
	for _, value := range s.SecurityOpt {
		add("--security-opt", strings.Replace(value, "seccomp=", "seccomp=deploy/", 1))
	}
	for _, pairs := range []struct {
		flag string
		of   map[string]string
	}{{"--sysctl", s.Sysctls}, {"-e", s.Environment}, {"-l", s.Labels}} {
		for key, value := range pairs.of {
			add(pairs.flag, key+"="+value)
		}
	}
	for _, volume := range s.Volumes {
		add("-v", strings.Replace(volume, "${DOCKER_ROOT:-/var/lib/docker}", "/var/lib/docker", 1))
	}
	if s.ReadOnly {
		all = append(all, "--read-only")
	}
	return all
}

// deploy/compose.yaml is the set `full`, and three files that say what the host is called.
func TestComposeIsThePage(t *testing.T) {
	services := readCompose(t, "../../deploy/compose.yaml")
	got := slices.DeleteFunc(services["tallyman"].options(), func(option string) bool {
		return strings.HasPrefix(option, "-v /etc/")
	})
	require.ElementsMatch(t, of(readPage(t).options, full), got)
	require.Empty(t, services["tallyman"].Network)
	for _, port := range services["tallyman"].Ports {
		require.True(t, strings.HasPrefix(port, "${TALLYMAN_PUBLISH:-127.0.0.1}:"), "%s is published to the world", port)
	}
	for _, volume := range services["tallyman"].Volumes {
		require.NotContains(t, volume, "SOCKET_DIRECTORY", "the agent has the engine's socket")
		require.False(t, strings.HasPrefix(volume, "/:"), "the agent has the engine's socket")
	}
	filter := services["docker-filter"]
	require.Equal(t, "none", filter.Network)
	require.Equal(t, []string{"ALL"}, filter.CapDrop)
	require.Empty(t, filter.CapAdd)
	require.True(t, filter.ReadOnly)
}

// Nothing that we ship asks for all rights.
func TestNothingIsPrivileged(t *testing.T) {
	err := filepath.WalkDir("../../deploy", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			setting := strings.ReplaceAll(strings.ReplaceAll(line, " ", ""), `"`, "")
			require.NotContains(t, setting, "privileged:true", path)
			require.NotContains(t, line, "--privileged", path)
		}
		return nil
	})
	require.NoError(t, err)
}

// composed is deploy/compose.yaml, started.
type composed struct {
	world   *world
	project string
	address string // on which it is published
}

// startCompose starts both containers. It does not wait for anything.
func (w *world) startCompose(t *testing.T) *composed {
	t.Helper()
	c := &composed{world: w, project: w.name, address: "127.0.47.11"}
	t.Cleanup(func() { c.compose(t, "down", "-v", "-t", "20") })
	c.compose(t, "up", "-d")
	return c
}

func (c *composed) compose(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("docker-compose", append([]string{"-p", c.project, "-f", "compose.yaml"}, args...)...)
	cmd.Dir = "../../deploy"
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+c.world.engine.Host(), "TALLYMAN_PUBLISH="+c.address,
		"DOCKER_ROOT="+c.world.at.docker, "DOCKER_SOCKET_DIRECTORY="+filepath.Dir(c.world.engine.Socket()))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%v: %s", args, out)
}

// socketVolume is where the filtered socket is.
func (c *composed) socketVolume() string { return c.project + "_socket" }

// works is that the file does what it says: the pages are published, for who has the
// token, containers have names, and nothing is a warning.
func (c *composed) works(t *testing.T) {
	agent := c.project + "_tallyman_1"
	c.isHealthy(t, agent)
	token := c.world.docker(t, "exec", agent, "/tallymanctl", "token")
	url := "http://" + c.address + ":9480/api/status"
	testkit.Eventually(t, soon, func() error { return answers(url, token, http.StatusOK) })
	require.NoError(t, answers(url, "", http.StatusUnauthorized))
	require.NoError(t, answers(url, token[1:], http.StatusUnauthorized))
	require.NoError(t, answers("http://"+c.address+":9480/", "", http.StatusOK))
	testkit.Eventually(t, soon, func() error {
		body, err := get("http://"+c.address+":9464/metrics", "")
		if err == nil && !strings.Contains(body, `container_name="`+c.world.subject.Name+`"`) {
			err = errMissing
		}
		return err
	})
	for _, name := range []string{agent, c.project + "_docker-filter_1"} {
		c.isHealthy(t, name)
		require.Empty(t, complaints(c.world.docker(t, "logs", name)), name)
	}
}

func (c *composed) isHealthy(t *testing.T, name string) {
	t.Helper()
	testkit.Eventually(t, soon, func() error {
		out, err := exec.Command("docker", "-H", c.world.engine.Host(), "exec", name, "/tallymanctl", "health").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("health of %s: %w: %s", name, err, out)
		}
		return err
	})
}

var errStatus = errors.New("another answer")

// answers asks for a page, with a token if there is one.
func answers(url, token string, want int) error {
	response, err := ask(url, token)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != want {
		return fmt.Errorf("%s: %w: %s, not %d", url, errStatus, response.Status, want)
	}
	return nil
}
