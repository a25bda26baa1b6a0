package policy

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
)

// fromYAML reads a configuration the way the Collector does.
func fromYAML(t *testing.T, text string) (Config, error) {
	t.Helper()
	retrieved, err := yamlprovider.NewFactory().Create(confmap.ProviderSettings{}).Retrieve(t.Context(), "yaml:"+text, nil)
	require.NoError(t, err)
	conf, err := retrieved.AsConf()
	require.NoError(t, err)
	cfg := DefaultConfig()
	return cfg, conf.Unmarshal(&cfg)
}

func TestConfigFromYAML(t *testing.T) {
	cfg, err := fromYAML(t, `
mode: observe
default_profile: none
clients:
  - {match: {host_uid: [0], host_gid: [0, 5]}, profile: monitoring, visible: all}
  - match: {container_label: {tallyman.docker: traefik}, image: "traefik:*"}
    profile: traefik
    visible: {label: traefik.enable=true}
    env_allow: [TZ]
  - {match: {compose_service: dozzle}, profile: monitoring, allow: [logs], visible: {same: compose_project}}
limits: {rps: 5.5, burst: 10, streams: 6, upstream_concurrency: 1}
audit: {logs: all}
`)
	require.NoError(t, err)
	require.NoError(t, cfg.Validate())
	require.Equal(t, Config{
		Mode: ModeObserve, DefaultProfile: ProfileNone,
		Clients: []ClientConfig{
			{
				Match:   MatchConfig{HostUID: []int64{0}, HostGID: []int64{0, 5}},
				Profile: ProfileMonitoring, Visible: VisibleConfig{All: true},
			},
			{
				Match:   MatchConfig{ContainerLabel: map[string]string{"tallyman.docker": "traefik"}, Image: "traefik:*"},
				Profile: ProfileTraefik, Visible: VisibleConfig{Label: "traefik.enable=true"}, EnvAllow: []string{"TZ"},
			},
			{
				Match:   MatchConfig{ComposeService: "dozzle"},
				Profile: ProfileMonitoring, Allow: []string{OptInLogs}, Visible: VisibleConfig{Same: SameComposeProject},
			},
		},
		Limits: LimitsConfig{RPS: 5.5, Burst: 10, Streams: 6, UpstreamConcurrency: 1},
		Audit:  AuditConfig{Logs: AuditAll},
	}, cfg)

	_, err = fromYAML(t, "clients: [{match: {host_uid: [0]}, profile: monitoring, visible: some}]")
	require.ErrorContains(t, err, `"some" is not all (write {label: name=value}`)
	_, err = fromYAML(t, "clients: [{match: {host_user: [0]}, profile: monitoring}]")
	require.ErrorContains(t, err, "host_user")
}

func TestDefaultConfig(t *testing.T) {
	cfg := DefaultConfig()
	require.NoError(t, cfg.Validate())
	require.Equal(t, Config{
		Mode:   "enforce",
		Limits: LimitsConfig{RPS: 50, Burst: 100, Streams: 256, UpstreamConcurrency: 16},
		Audit:  AuditConfig{Logs: "denied"},
	}, cfg)
}

// Each of these is one thing wrong with a configuration that is right.
func TestValidate(t *testing.T) {
	f := func(change func(*Config), want string) {
		t.Helper()
		cfg := DefaultConfig()
		cfg.Clients = []ClientConfig{
			{Match: MatchConfig{HostUID: []int64{0, maxID}}, Profile: ProfileMonitoring},
			{Match: MatchConfig{Image: "web:*"}, Profile: ProfileLogs, Visible: VisibleConfig{Same: SameComposeProject}},
		}
		require.NoError(t, cfg.Validate())
		change(&cfg)
		require.EqualError(t, cfg.Validate(), want)
	}
	f(func(c *Config) { c.Mode = "learn" }, `mode: unknown value "learn" (use enforce, observe)`)
	f(func(c *Config) { c.Audit.Logs = "" }, `audit.logs: unknown value "" (use none, denied, all)`)
	const some = "(use monitoring, traefik, cadvisor, datadog, logs, swarm-read, none)"
	f(func(c *Config) { c.DefaultProfile = "all" }, `default_profile: unknown value "all" `+some)
	f(func(c *Config) { c.DefaultProfile = ProfileAgent }, `default_profile: unknown value "agent" `+some)

	f(func(c *Config) { c.Limits.RPS = 0 }, "limits.rps: 0 is not a number above 0")
	f(func(c *Config) { c.Limits.RPS = math.NaN() }, "limits.rps: NaN is not a number above 0")
	f(func(c *Config) { c.Limits.RPS = math.Inf(1) }, "limits.rps: +Inf is not a number above 0")
	f(func(c *Config) { c.Limits.Burst = 0 }, "limits.burst: 0 is less than 1")
	f(func(c *Config) { c.Limits.Streams = -1 }, "limits.streams: -1 is less than 1")
	f(func(c *Config) { c.Limits.UpstreamConcurrency = 0 }, "limits.upstream_concurrency: 0 is less than 1")

	f(func(c *Config) { c.Clients[1].Profile = "" }, "clients[1].profile: is missing")
	f(func(c *Config) { c.Clients[0].Profile = ProfileAgent }, `clients[0].profile: unknown value "agent" `+some)
	f(func(c *Config) { c.Clients[1].Allow = []string{"top", "exec"} },
		`clients[1].allow[1]: unknown value "exec" (use logs, top, image-history, sizes, df, plugins, swarm)`)
	for _, name := range []string{"", "A=b", "*", "A B"} {
		f(func(c *Config) { c.Clients[0].EnvAllow = []string{"TZ", name} },
			`clients[0].env_allow[1]: "`+name+`" is not the name of an environment variable`)
	}

	f(func(c *Config) { c.Clients[1].Match.HostUID = []int64{-1} },
		"clients[1].match.host_uid[0]: -1 is not an id (0 to 4294967294)\n"+
			"clients[1].match: host_uid and host_gid match processes in no container, the other conditions containers (make two rules of it)\n"+
			"clients[1].visible.same: a process in no container has no compose_project")
	f(func(c *Config) { c.Clients[0].Match.HostGID = []int64{0, maxID + 1} },
		"clients[0].match.host_gid[1]: 4294967295 is not an id (0 to 4294967294)")
	f(func(c *Config) { c.Clients[0].Match = MatchConfig{} },
		"clients[0].match: has no condition (default_profile is for everybody else)")
	f(func(c *Config) { c.Clients[1].Match.Image = "web:[" }, `clients[1].match.image: "web:[" is not a valid pattern`)
	f(func(c *Config) { c.Clients[1].Match.ComposeService = "[" }, `clients[1].match.compose_service: "[" is not a valid pattern`)
	f(func(c *Config) { c.Clients[1].Match.ContainerLabel = map[string]string{"role": "a[]"} },
		`clients[1].match.container_label[role]: "a[]" is not a valid pattern`)
	f(func(c *Config) { c.Clients[1].Match.ContainerLabel = map[string]string{"": "x"} },
		"clients[1].match.container_label: a label has no name")

	f(func(c *Config) { c.Clients[1].Visible.Label = "x" }, "clients[1].visible: has more than one of all, label and same")
	f(func(c *Config) { c.Clients[1].Visible.All = true }, "clients[1].visible: has more than one of all, label and same")
	f(func(c *Config) { c.Clients[0].Visible.Label = "=x" }, `clients[0].visible.label: "=x" has no name before the =`)
	f(func(c *Config) { c.Clients[1].Visible.Same = "network" }, `clients[1].visible.same: unknown value "network" (use compose_project)`)
	f(func(c *Config) { c.Clients[0].Visible.Same = SameComposeProject },
		"clients[0].visible.same: a process in no container has no compose_project")
	const swarm = "clients[1].visible: hides containers only, and opt-in swarm shows services, tasks and nodes (leave out one of them)"
	f(func(c *Config) { c.Clients[1].Allow = []string{OptInSwarm} }, swarm)
	f(func(c *Config) { c.Clients[1].Profile = ProfileSwarmRead }, swarm)
}
