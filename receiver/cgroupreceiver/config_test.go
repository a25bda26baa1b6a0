package cgroupreceiver

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/receiver/cgroupreceiver/internal/metadata"
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

func TestDefaultConfigIsValid(t *testing.T) {
	cfg := load(t, component.NewID(metadata.Type))
	require.NoError(t, confmap.Validate(cfg))
	require.Empty(t, cmp.Diff(createDefaultConfig(), cfg, cmpopts.EquateComparable(), ignoreUnexported))
}

// ignoreUnexported: the generated configuration remembers what the user set.
var ignoreUnexported = cmp.FilterPath(func(p cmp.Path) bool {
	field, ok := p.Last().(cmp.StructField)
	return ok && (field.Name()[0] < 'A' || field.Name()[0] > 'Z')
}, cmp.Ignore())

func TestFullConfig(t *testing.T) {
	cfg := load(t, component.NewIDWithName(metadata.Type, "all"))
	require.NoError(t, confmap.Validate(cfg))
	require.Equal(t, time.Second, cfg.CollectionInterval)
	require.Equal(t, 10*time.Second, cfg.MemoryStatInterval)
	require.Equal(t, 9*time.Second, cfg.UnchangedInterval)
	require.Equal(t, hostview.ProcessStreamOff, cfg.ProcessStream)
	require.True(t, cfg.Metrics.ContainerCPUPressureAverage.Enabled)
	require.False(t, cfg.Events.ContainerStart.Enabled)
	require.True(t, cfg.ResourceAttributes.LinuxCgroupPath.Enabled)

	want := cfg.want()
	f := func(class container.Class, runtime, path string, expect bool) {
		t.Helper()
		got := want(container.Cgroup{Identity: container.Identity{Class: class, Runtime: runtime}, Path: path})
		require.Equal(t, expect, got, "%v %s %s", class, runtime, path)
	}
	f(container.ClassContainer, "docker", "/docker/x", true)
	f(container.ClassContainer, "podman", "/machine.slice/x", false)
	f(container.ClassContainer, "docker", "/system.slice/docker-x.scope", false)
	f(container.ClassPod, "docker", "/kubepods/x", false)
}

func TestInvalidConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	f := func(field, value string, rest ...string) {
		t.Helper()
		cfg := createDefaultConfig().(*Config)
		conf, err := confmap.NewRetrievedFromYAML([]byte(field + ": " + value))
		require.NoError(t, err)
		c, err := conf.AsConf()
		require.NoError(t, err)
		require.NoError(t, c.Unmarshal(cfg))
		err = confmap.Validate(cfg)
		require.Error(t, err, "%s: %s", field, value)
		require.ErrorContains(t, err, field)
		for _, text := range rest {
			require.ErrorContains(t, err, text)
		}
	}
	f("classes", "[containr]", `"containr"`)
	f("classes", "[]")
	f("collection_interval", "-1s")
	f("memory_stat_interval", "-1s", "negative")
	f("unchanged_interval", "-1s", "negative")
	f("unchanged_interval", "10s", "too long", "below 10s")
	f("max_open_files", "-1", "negative")
	f("root_path", "hostfs", "absolute")
	f("root_path", "/does/not/exist", "/does/not/exist")
	f("root_path", file, "not a directory")
	f("reader", "ebpf", `"ebpf"`)
	f("reader", "bpf", "not part of this version")
	f("process_stream", "always", `"always"`)
	f("include", `{cgroup_path: ["/docker/["]}`, "cgroup_path")
	f("exclude", `{cgroup_path: ["/docker/["]}`, "cgroup_path")
}
