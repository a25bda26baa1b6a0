package ebpfconntrackreceiver

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/metadata"
)

func load(t *testing.T, name string) *Config {
	t.Helper()
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	sub, err := conf.Sub(component.NewIDWithName(metadata.Type, name).String())
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, sub.Unmarshal(cfg))
	return cfg
}

func TestDefaultConfig(t *testing.T) {
	cfg := load(t, "")
	require.NoError(t, confmap.Validate(cfg))
	require.Equal(t, createDefaultConfig(), cfg)
}

func TestFullConfig(t *testing.T) {
	cfg := load(t, "all")
	require.NoError(t, confmap.Validate(cfg))
	require.Equal(t, &Config{
		CollectionInterval: 5 * time.Second, RootPath: "/tmp", NAT: "ctnetlink", Events: "all",
		Unusual:       UnusualConfig{SetupTime: 200 * time.Millisecond},
		ProcessEvents: true, ResponseTimes: "off", ReverseDNS: true,
		Groups: []GroupConfig{{Name: "office", Prefixes: []string{"192.0.2.0/24", "2001:db8::/32"}}},
		Limits: LimitsConfig{RingMiB: 16, Connections: 4096, ContainerEdges: 10, Edges: 100, Containers: 20, Events: 50},
	}, cfg)
	groups, err := cfg.groups()
	require.NoError(t, err)
	require.Len(t, groups[0].Prefixes, 2)
}

func TestEdgesOutliveLooks(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	require.Equal(t, 5*time.Minute, cfg.edgeExpiry())
	cfg.CollectionInterval = maxInterval
	require.NoError(t, confmap.Validate(cfg))
	require.Equal(t, 15*time.Minute, cfg.edgeExpiry())
}

func TestBadConfigNamesTheFields(t *testing.T) {
	err := confmap.Validate(load(t, "bad"))
	for _, want := range []string{
		"collection_interval: 10ms is less than a second", "root_path: ",
		`nat: "foo" is none of auto, pull, ctnetlink, off`, `events: "some" is none of unusual, none, all`,
		"unusual.retransmits: -1 ", "unusual.per_interval: -1 ", "unusual.setup_time: -1s ", "unusual.rtt: -1s ",
		`response_times: "always" is none of auto, off`,
		`groups: [0].prefixes: "192.0.2.0/33" is not an address range`,
		"limits.ring_mib: 3 is no power of two", "limits.connections: 1 ", "limits.container_edges: 0 ", "limits.edges: 0 ",
		"limits.containers: 0 ", "limits.events: 0 ",
	} {
		require.ErrorContains(t, err, want)
	}
	require.ErrorContains(t, confmap.Validate(load(t, "nameless_group")), "groups: [0].name: is empty")
	require.ErrorContains(t, confmap.Validate(load(t, "empty_group")), `groups: [0].prefixes: "office" has none`)
	require.ErrorContains(t, confmap.Validate(load(t, "twice_group")), `groups: group "home": 192.0.2.0/24 is in group "office" too`)
}
