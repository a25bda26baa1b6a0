package ship_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// service is what the tests look at of a service of a Compose file.
type service struct {
	Image       string            `yaml:"image"`
	User        string            `yaml:"user"`
	Pid         string            `yaml:"pid"`
	Network     string            `yaml:"network_mode"`
	ReadOnly    bool              `yaml:"read_only"`
	Memory      string            `yaml:"mem_limit"`
	CapAdd      []string          `yaml:"cap_add"`
	CapDrop     []string          `yaml:"cap_drop"`
	SecurityOpt []string          `yaml:"security_opt"`
	Sysctls     map[string]string `yaml:"sysctls"`
	Devices     []string          `yaml:"devices"`
	Labels      map[string]string `yaml:"labels"`
	Environment map[string]string `yaml:"environment"`
	Volumes     []string          `yaml:"volumes"`
	Secrets     []struct {
		Source string `yaml:"source"`
		Target string `yaml:"target"`
	} `yaml:"secrets"`
	Ports   []string          `yaml:"ports"`
	Extends map[string]string `yaml:"extends"`

	files map[string]string // what the file calls secrets, and where they are
}

func readCompose(t *testing.T, file string) map[string]service {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var compose struct {
		Services map[string]service `yaml:"services"`
		Secrets  map[string]struct {
			File string `yaml:"file"`
		} `yaml:"secrets"`
	}
	require.NoError(t, yaml.Unmarshal(text, &compose))
	files := map[string]string{}
	for name, secret := range compose.Secrets {
		files[name] = secret.File
	}
	for name, s := range compose.Services {
		s.files = files
		compose.Services[name] = s
	}
	return compose.Services
}

// options are the service's in the words of `docker run`.
func (s service) options() []string {
	var all []string
	add := func(flag string, values ...string) {
		for _, value := range values {
			if value != "" {
				all = append(all, flag+" "+value)
			}
		}
	}
	add("--user", s.User)
	add("--pid", s.Pid)
	add("--memory", s.Memory)
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
	for _, secret := range s.Secrets {
		add("-v", s.files[secret.Source]+":"+secret.Target+":ro")
	}
	if s.ReadOnly {
		all = append(all, "--read-only")
	}
	return all
}

// composeFiles are those of deploy for each set.
var composeFiles = map[string]string{full: "compose.yaml", noBPF: "compose-no-bpf.yaml", least: "compose-least.yaml"}

// Each Compose file is its set of the page.
func TestComposeIsThePage(t *testing.T) {
	page := readPage(t)
	for set, name := range composeFiles {
		services := readCompose(t, "../../deploy/"+name)
		agent := services["tallyman"]
		require.ElementsMatch(t, of(page.options, set), agent.options(), name)
		require.Equal(t, "bridge", agent.Network)
		for _, port := range agent.Ports {
			require.True(t, strings.HasPrefix(port, "${TALLYMAN_PUBLISH:-127.0.0.1}:"), "%s is published to the world", port)
		}
		for _, volume := range agent.Volumes {
			require.NotContains(t, volume, "SOCKET_DIRECTORY", "the agent has the engine's socket")
			require.False(t, strings.HasPrefix(volume, "/:"), "the agent has the engine's socket")
			require.NotContains(t, volume, "/etc/", "a file that a host may lack: the engine would make a folder there")
		}
		filter := services["docker-filter"]
		if set != full {
			require.Equal(t, service{Extends: map[string]string{"file": "compose.yaml", "service": "docker-filter"}, files: agent.files}, filter)
			continue
		}
		require.Equal(t, "none", filter.Network)
		require.Equal(t, []string{"ALL"}, filter.CapDrop)
		require.Empty(t, filter.CapAdd)
		require.True(t, filter.ReadOnly)
		require.NotEmpty(t, filter.Memory)
	}
}

// The agent of deploy/docker-filter has no capability, and neither container can get one.
func TestComposeOfTheFilter(t *testing.T) {
	for name, s := range readCompose(t, "../../deploy/docker-filter/compose.yaml") {
		require.Equal(t, []string{"ALL"}, s.CapDrop, name)
		require.Empty(t, s.CapAdd, name)
		require.Contains(t, s.SecurityOpt, "no-new-privileges", name)
		require.True(t, s.ReadOnly, name)
		require.NotEmpty(t, s.Memory, name)
	}
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

// composed is a Compose file of deploy, started.
type composed struct {
	world   *world
	file    string
	project string
	address string // on which it is published
}

// startCompose starts both containers. It does not wait for anything.
func (w *world) startCompose(t *testing.T, set string) *composed {
	t.Helper()
	c := &composed{
		world: w, file: composeFiles[set], project: w.name + strings.ToLower(strings.ReplaceAll(set, " ", "")),
		address: fmt.Sprintf("127.47.%d.%d", rand.IntN(256), 1+rand.IntN(254)),
	}
	t.Cleanup(func() { c.compose(t, "down", "-v", "-t", "20") })
	c.compose(t, "up", "-d")
	return c
}

// compose runs Compose 2 where it is, else Compose 1.
func (c *composed) compose(t *testing.T, args ...string) string {
	t.Helper()
	command := []string{"docker-compose"}
	if exec.Command("docker", "compose", "version").Run() == nil {
		command = []string{"docker", "compose"}
	}
	command = append(append(command, "-p", c.project, "-f", c.file), args...)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = "../../deploy"
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+c.world.engine.Host(), "TALLYMAN_PUBLISH="+c.address,
		"DOCKER_ROOT="+c.world.at.docker, "DOCKER_SOCKET_DIRECTORY="+filepath.Dir(c.world.engine.Socket()))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%v: %s%s", args, out, &stderr)
	return strings.TrimSpace(string(out))
}

// container is the id of a service's; the two Composes name it differently.
func (c *composed) container(t *testing.T, service string) string {
	t.Helper()
	id := c.compose(t, "ps", "-q", service)
	require.NotEmpty(t, id, service)
	return id
}

// socketVolume is where the filtered socket is.
func (c *composed) socketVolume(t *testing.T) string {
	t.Helper()
	return c.world.docker(t, "volume", "ls", "-q", "--filter", "label=com.docker.compose.project="+c.project,
		"--filter", "label=com.docker.compose.volume=socket")
}

// works is that the file does what it says: the pages are published, for who has the
// token, containers have names, and nothing is a warning.
func (c *composed) works(t *testing.T) {
	agent, filter := c.container(t, "tallyman"), c.container(t, "docker-filter")
	c.isHealthy(t, agent)
	token := c.world.docker(t, "exec", agent, "/tallymanctl", "token")
	url := "http://" + c.address + ":9480/api/status"
	testkit.Eventually(t, soon, func() error { return answers(url, token, http.StatusOK) })
	status, err := get(url, token)
	require.NoError(t, err)
	own, err := os.Hostname() // that of /etc/hostname, which the file hands in
	require.NoError(t, err)
	require.Contains(t, status, `"host":"`+own+`"`)
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
	for _, id := range []string{agent, filter} {
		c.isHealthy(t, id)
		require.Empty(t, complaints(c.world.docker(t, "logs", id)), id)
	}
}

func (c *composed) isHealthy(t *testing.T, id string) {
	t.Helper()
	testkit.Eventually(t, soon, func() error {
		out, err := exec.Command("docker", "-H", c.world.engine.Host(), "exec", id, "/tallymanctl", "health").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("health of %s: %w: %s", id, err, out)
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
