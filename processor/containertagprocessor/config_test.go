package containertagprocessor

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/metadata"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/selection"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

func load(t *testing.T, id component.ID) *Config {
	t.Helper()
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	sub, err := conf.Sub(id.String())
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, sub.Unmarshal(cfg))
	return cfg
}

func TestDefaultConfig(t *testing.T) {
	cfg := load(t, component.NewID(metadata.Type))
	require.NoError(t, confmap.Validate(cfg))
	require.Equal(t, createDefaultConfig(), cfg)
	require.True(t, cfg.Docker.Enabled)
	require.Equal(t, 500*time.Millisecond, cfg.Wait)
}

// Every key reaches its field, and all of them together are valid.
func TestFullConfig(t *testing.T) {
	cfg := load(t, component.NewIDWithName(metadata.Type, "all"))
	require.NoError(t, confmap.Validate(cfg))
	want := &Config{
		Sources: Sources{
			RootPath:   "/usr",
			Docker:     DockerConfig{Endpoint: "unix:///run/tallyman/docker.sock"},
			Podman:     SocketConfig{Endpoint: "unix:///run/podman/podman.sock"},
			Containerd: SocketConfig{Endpoint: "unix:///run/containerd/containerd.sock"},
			CRIO:       SocketConfig{Endpoint: "unix:///run/crio/crio.sock"},
			Kubelet: KubeletConfig{
				Endpoint: "https://localhost:10250", TokenFile: "/etc/tallyman/token", CAFile: "/etc/tallyman/ca.pem",
				InsecureSkipVerify: true,
			},
			ECS: ECSConfig{Enabled: true, Endpoint: "http://localhost:51679"}, Cloud: SwitchConfig{Enabled: true},
			Recognition: RecognitionConfig{Evidence: true},
			HostName:    "node-1", HostTags: map[string]string{"role": "db"}, HostTagsFile: "/etc/tallyman/tags.yaml",
		},
		Options: tags.Options{
			Labels:      tags.Rules{Allow: []string{"org.*"}, Deny: []string{"org.secret"}, Attributes: map[string]string{"org.team": "team"}},
			Env:         tags.Rules{Allow: []string{"APP_*"}, Deny: []string{"APP_KEY"}, Attributes: map[string]string{"TIER": "tier"}},
			Annotations: tags.Rules{Allow: []string{"note/*"}, Deny: []string{"note/secret"}, Attributes: map[string]string{"note/owner": "owner"}},
			PodLabels:   tags.Rules{Allow: []string{"shop/*"}, Deny: []string{"shop/secret"}, Attributes: map[string]string{"shop/part": "part"}},
			Aliases:     []tags.Alias{{Match: selection.Rule{ContainerName: "web-*"}, Name: "front"}},
			Cardinality: tags.Orchestrator, MaxAttributes: 32, MaxValueLength: 200,
		},
		Include: []selection.Rule{{Image: "nginx", Label: map[string]string{"org.team": "shop*"}}},
		Exclude: []selection.Rule{{ComposeService: "noisy-*"}},
		Unknown: "drop", Override: true, Wait: 2 * time.Second, PeerAddress: true,
	}
	if d := cmp.Diff(want, cfg); d != "" {
		t.Error(d)
	}
}

// An error names the field that is wrong.
func TestBadConfig(t *testing.T) {
	f := func(want string, change func(*Config)) {
		t.Helper()
		cfg := createDefaultConfig().(*Config)
		change(cfg)
		if err := confmap.Validate(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want something about %q", err, want)
		}
	}
	f(`root_path: `, func(c *Config) { c.RootPath = "relative" })
	f(`docker.endpoint: "/run/docker.sock"`, func(c *Config) { c.Docker.Endpoint = "/run/docker.sock" })
	f(`podman.endpoint: "ftp://x:1"`, func(c *Config) { c.Podman.Endpoint = "ftp://x:1" })
	f(`containerd.endpoint: "unix://relative.sock"`, func(c *Config) { c.Containerd.Endpoint = "unix://relative.sock" })
	f(`crio.endpoint: "tcp://127.0.0.1:1"`, func(c *Config) { c.CRIO.Endpoint = "tcp://127.0.0.1:1" })
	f(`kubelet.endpoint: "localhost:10250"`, func(c *Config) { c.Kubelet.Endpoint = "localhost:10250" })
	f(`kubelet.endpoint: `, func(c *Config) { c.Kubelet.Endpoint = "https://user:word@localhost" })
	f(`kubelet.endpoint: "http:///pods"`, func(c *Config) { c.Kubelet.Endpoint = "http:///pods" })
	f(`ecs.endpoint: "localhost"`, func(c *Config) { c.ECS = ECSConfig{Enabled: true, Endpoint: "localhost"} })
	f(`host_tags: tag ""`, func(c *Config) { c.HostTags = map[string]string{"": "x"} })
	f(`host_tags_file: "tags.yaml"`, func(c *Config) { c.HostTagsFile = "tags.yaml" })
	f(`labels.allow`, func(c *Config) { c.Labels.Allow = []string{""} })
	f(`env.attributes`, func(c *Config) { c.Env.Attributes = map[string]string{"A=B": "x"} })
	f(`annotations.attributes`, func(c *Config) { c.Annotations.Attributes = map[string]string{"a": ""} })
	f(`pod_labels.deny`, func(c *Config) { c.PodLabels.Deny = []string{""} })
	f(`aliases[0]`, func(c *Config) { c.Aliases = []tags.Alias{{Name: "x"}} })
	f(`cardinality`, func(c *Config) { c.Cardinality = 42 })
	f(`max_attributes`, func(c *Config) { c.MaxAttributes = 100_000 })
	f(`max_value_length`, func(c *Config) { c.MaxValueLength = -1 })
	f(`include[0]: a rule needs one of`, func(c *Config) { c.Include = make([]selection.Rule, 1) })
	f(`exclude[1]: a rule needs one of`, func(c *Config) { c.Exclude = []selection.Rule{{Image: "x"}, {}} })
	f(`unknown: "perhaps"`, func(c *Config) { c.Unknown = "perhaps" })
	f(`wait: -1s`, func(c *Config) { c.Wait = -time.Second })
	f(`wait: 11s`, func(c *Config) { c.Wait = 11 * time.Second })
}

// All that is wrong is said at once.
func TestBadConfigSaysAll(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.Unknown, cfg.Wait, cfg.Docker.Endpoint = "x", -1, "x"
	err := confmap.Validate(cfg)
	for _, field := range []string{"unknown: ", "wait: ", "docker.endpoint: "} {
		require.ErrorContains(t, err, field)
	}
}

// What is switched off is not checked, and the edges are inside.
func TestGoodConfig(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.ECS = ECSConfig{Endpoint: "nonsense"} },
		func(c *Config) { c.Wait = 0 },
		func(c *Config) { c.Wait = 10 * time.Second },
		func(c *Config) { c.Docker.Endpoint = "tcp://127.0.0.1:2375" },
		func(c *Config) { c.Kubelet.Endpoint = "http://127.0.0.1:10255" },
	} {
		cfg := createDefaultConfig().(*Config)
		change(cfg)
		require.NoError(t, confmap.Validate(cfg))
	}
}
