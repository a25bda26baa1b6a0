package project_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/project"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// planted are the secrets of one container, by where they were put. None has a
// form that gives it away but those in labels: there it is the form that counts.
var planted = map[string]string{
	"env":          "env-hunter2-7Q",
	"argument":     "argv-hunter2-7Q",
	"label name":   "plain-hunter2-7Q",
	"label url":    "url-hunter2-7Q",
	"label random": "Zk3Tq9LmX7vB2nRc5WdYh8JpFs4GtQa6",
	"annotation":   "dd-hunter2-7Q",
	"log driver":   "gelf-hunter2-7Q",
	"health":       "health-hunter2-7Q",
	"health log":   "output-hunter2-7Q",
	"volume":       "cifs-hunter2-7Q",
	"exec":         "exec-hunter2-7Q",
	"tmpfs":        "tmpfs-hunter2-7Q",
	"host":         "hosts-hunter2-7q",
	"network":      "network-hunter2-7Q",
	"image":        "image-hunter2-7Q",
	"source":       "source-hunter2-7Q",
}

// TestPlantedOnEngine puts a secret into every place of a real container that
// takes one, and reads all answers of the engine that can be projected.
func TestPlantedOnEngine(t *testing.T) {
	engine := testkit.Docker(t)
	since := time.Now()
	c := plant(t, engine)
	until := time.Now()

	answers := readAnswers(t, engine.Socket(), c, fmt.Sprintf("since=%d&until=%d.%09d",
		since.Unix()-1, until.Unix(), until.Nanosecond()))
	all := []byte{}
	for _, a := range answers {
		all = append(all, a.body...)
	}
	for where, secret := range planted {
		if !bytes.Contains(all, []byte(secret)) {
			t.Errorf("the secret in %s is in no answer: the test shows nothing about it", where)
		}
	}
	for name, options := range profiles() {
		rules := compile(t, options)
		for _, a := range answers {
			var out bytes.Buffer
			stats, err := a.project(&out, bytes.NewReader(a.body), project.View{Kind: a.kind, Rules: rules})
			if err != nil {
				t.Errorf("%s: %s: %v", name, a.path, err)
			}
			if stats.Elements == 0 || stats.Hidden > 0 {
				t.Errorf("%s: %s: %d elements were kept and %d hidden", name, a.path, stats.Elements, stats.Hidden)
			}
			for where, secret := range planted {
				if bytes.Contains(out.Bytes(), []byte(secret)) {
					t.Errorf("%s: %s: the secret in %s leaves: %s", name, a.path, where, out.Bytes())
				}
			}
			t.Logf("%s: %s: %d -> %d bytes, %v", name, a.path, len(a.body), out.Len(), stats.Redacted)
		}
	}
}

// answer is what the engine said, and how it is projected.
type answer struct {
	path    string
	kind    project.Kind
	project func(io.Writer, io.Reader, project.View) (project.Stats, error)
	body    []byte
}

func readAnswers(t *testing.T, socket string, c *testkit.Container, window string) []answer {
	t.Helper()
	answers := []answer{
		{"/containers/json?all=1&size=1", project.ContainerSummary, project.List, nil},
		{"/containers/" + c.ID + "/json?size=1", project.ContainerInspect, project.Object, nil},
		{"/containers/" + c.ID + "/stats?stream=0", project.ContainerStats, project.Object, nil},
		{"/containers/" + c.ID + "/top?ps_args=-eo+pid,ppid,uid,comm", project.ContainerTop, project.Object, nil},
		{"/images/json", project.ImageSummary, project.List, nil},
		{"/images/" + testkit.Busybox + "/json", project.ImageInspect, project.Object, nil},
		{"/images/planted:" + c.ID[:12] + "/json", project.ImageInspect, project.Object, nil},
		{"/images/planted:" + c.ID[:12] + "/history", project.ImageHistory, project.List, nil},
		{"/volumes", project.VolumeList, project.Object, nil},
		{"/volumes/planted-" + c.ID[:12], project.Volume, project.Object, nil},
		{"/networks", project.Network, project.List, nil},
		{"/networks/planted-" + c.ID[:12], project.Network, project.Object, nil},
		{"/info", project.Info, project.Object, nil},
		{"/version", project.Version, project.Object, nil},
		{"/system/df", project.DiskUsage, project.Object, nil},
		{"/events?" + window, project.Event, project.Stream, nil},
	}
	for i := range answers {
		answers[i].body = get(t, socket, answers[i].path)
		// What engines say is kept for a look, and for the golden tests.
		if dir := os.Getenv("TALLYMAN_PROJECT_BODIES"); dir != "" {
			name := strings.NewReplacer("/", "_", "?", "_", "&", "_", "=", "", ":", "").Replace(answers[i].path)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name+".json"), answers[i].body, 0o600))
		}
	}
	return answers
}

// get reads a body from the engine's socket as it is.
func get(t *testing.T, socket, path string) []byte {
	t.Helper()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://docker/v1.41"+path, nil)
	require.NoError(t, err)
	response, err := transport.RoundTrip(request)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode, "%s: %s", path, body)
	return body
}

// plant runs the container with all the secrets.
func plant(t *testing.T, engine *testkit.Engine) *testkit.Container {
	t.Helper()
	ctx, api := t.Context(), engine.Client()
	source := filepath.Join(t.TempDir(), planted["source"])
	require.NoError(t, os.Mkdir(source, 0o700))

	c := engine.RunContainer(t, testkit.ContainerSpec{
		Name: "planted",
		// The shell is process 1, so that Args hold the secret and top does not.
		Cmd: []string{"sh", "-c", "exec sleep 2147483647", planted["argument"]},
		Env: []string{"DB_PASSWORD=" + planted["env"], "DD_SERVICE=shop", "PLAIN=" + planted["env"]},
		Labels: map[string]string{
			"com.example.api_token":          planted["label name"],
			"com.example.database":           "postgres://shop:" + planted["label url"] + "@db/shop",
			"com.example.key":                planted["label random"],
			"com.example.team":               "checkout",
			"com.datadoghq.ad.instances":     `[{"host":"%%host%%","password":"` + planted["annotation"] + `"}]`,
			"com.docker.compose.project":     "shop",
			"traefik.http.routers.shop.rule": "Host(`shop.example`)",
		},
		Binds: []string{source + ":/data"},
		Adjust: func(config *container.Config, host *container.HostConfig) {
			config.Healthcheck = &container.HealthConfig{
				Test:     []string{"CMD", "sh", "-c", "echo " + planted["health log"] + " # " + planted["health"]},
				Interval: 200 * time.Millisecond,
			}
			host.LogConfig = container.LogConfig{Type: "gelf", Config: map[string]string{
				"gelf-address": "udp://127.0.0.1:12201", "tag": planted["log driver"],
			}}
			host.Tmpfs = map[string]string{"/scratch/" + planted["tmpfs"]: "size=1m"}
			host.ExtraHosts = []string{planted["host"] + ":127.0.0.9"}
		},
	})
	result, err := c.Exec(ctx, "sh", "-c", "true "+planted["exec"])
	require.NoError(t, err)
	require.Zero(t, result.ExitCode, result.Output)
	plantBeside(t, api, c)
	testkit.Eventually(t, 30*time.Second, func() error {
		info, err := c.Inspect(ctx)
		if err != nil {
			return err
		}
		if info.State.Health == nil || len(info.State.Health.Log) == 0 {
			return fmt.Errorf("no health check has run")
		}
		return nil
	})
	return c
}

// plantBeside makes an image, a volume and a network with secrets.
func plantBeside(t *testing.T, api *client.Client, c *testkit.Container) {
	t.Helper()
	ctx := t.Context()
	image, volume, network := "planted:"+c.ID[:12], "planted-"+c.ID[:12], "planted-"+c.ID[:12]
	_, err := api.ContainerCommit(ctx, c.ID, client.ContainerCommitOptions{
		Reference: image, Comment: planted["image"], Author: planted["image"], NoPause: true,
		Changes: []string{"ENV IMAGE_KEY=" + planted["image"]},
	})
	require.NoError(t, err)
	_, err = api.VolumeCreate(ctx, client.VolumeCreateOptions{Name: volume, Driver: "local", DriverOpts: map[string]string{
		"type": "cifs", "device": "//files.example/share", "o": "username=shop,password=" + planted["volume"],
	}})
	require.NoError(t, err)
	_, err = api.NetworkCreate(ctx, network, client.NetworkCreateOptions{
		Driver: "bridge", Options: map[string]string{"com.example.key": planted["network"]},
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_, err := api.ImageRemove(ctx, image, client.ImageRemoveOptions{Force: true})
		require.NoError(t, err)
		_, err = api.VolumeRemove(ctx, volume, client.VolumeRemoveOptions{Force: true})
		require.NoError(t, err)
		_, err = api.NetworkRemove(ctx, network, client.NetworkRemoveOptions{})
		require.NoError(t, err)
	})
}
