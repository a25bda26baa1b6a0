package containertagprocessor

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/metadata"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/selection"
)

// pipelines makes processors as the Collector does, over sources that are not
// there.
type pipelines struct {
	t      *testing.T
	shared *shared
	host   someHost
	logs   *observer.ObservedLogs
	log    *zap.Logger
	meters metric.MeterProvider // nil: those that do nothing
}

// someHost is one with extensions.
type someHost struct {
	extensions map[component.ID]component.Component
}

func (h someHost) GetExtensions() map[component.ID]component.Component { return h.extensions }

func newPipelines(t *testing.T) *pipelines {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	p := &pipelines{t: t, shared: newShared(), logs: logs, log: zap.New(core)}
	p.shared.engine = "unix://" + filepath.Join(t.TempDir(), "docker.sock")
	return p
}

// config is one whose host has nothing to tell of.
func (p *pipelines) config(change func(*Config)) *Config {
	p.t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.RootPath = p.t.TempDir()
	if change != nil {
		change(cfg)
	}
	require.NoError(p.t, cfg.Validate())
	return cfg
}

// made returns the cores of a pipeline of each signal.
func (p *pipelines) made(cfg *Config) []*core {
	p.t.Helper()
	set := processortest.NewNopSettings(metadata.Type)
	set.Logger = p.log
	if p.meters != nil {
		set.MeterProvider = p.meters
	}
	next := consumertest.NewNop()
	m, err := p.shared.createMetrics(p.t.Context(), set, cfg, next)
	require.NoError(p.t, err)
	l, err := p.shared.createLogs(p.t.Context(), set, cfg, next)
	require.NoError(p.t, err)
	tr, err := p.shared.createTraces(p.t.Context(), set, cfg, next)
	require.NoError(p.t, err)
	return []*core{m.(*metricsTags).core, l.(*logsTags).core, tr.(*tracesTags).core}
}

// started starts them, and stops them with the test at the latest.
func (p *pipelines) started(cfg *Config) []*core {
	p.t.Helper()
	all := p.made(cfg)
	for _, c := range all {
		require.NoError(p.t, c.Start(p.t.Context(), p.host))
		p.t.Cleanup(func() { require.NoError(p.t, c.Shutdown(context.Background())) })
	}
	return all
}

// warnings are the lines that a person should read.
func (p *pipelines) warnings() (all []string) {
	for _, l := range p.logs.FilterLevelExact(zapcore.WarnLevel).All() {
		all = append(all, l.Message)
	}
	return all
}

func TestPipelinesOfOneConfigShare(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	p := newPipelines(t)
	all := p.started(p.config(nil))
	for _, c := range all {
		require.Same(t, all[0].tagger, c.tagger)
		require.Same(t, all[0].hub, c.hub)
	}
	for i, c := range all {
		require.Len(t, p.shared.hubs, 1, "%d have ended", i)
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, c.Shutdown(t.Context()), "twice is once")
	}
	require.Empty(t, p.shared.hubs)
	require.Empty(t, p.shared.taggers)
	// All over again, as after a change of configuration elsewhere.
	again := p.started(p.config(nil))
	require.NotSame(t, all[0].hub, again[0].hub)
}

func TestEqualSourcesShareAHub(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	p := newPipelines(t)
	root := t.TempDir()
	with := func(change func(*Config)) *core {
		return p.started(p.config(func(c *Config) {
			c.RootPath, c.HostTags = root, map[string]string{"role": "db", "team": "x"}
			if change != nil {
				change(c)
			}
		}))[0]
	}
	first := with(nil)
	for name, change := range map[string]func(*Config){
		"the same":  nil,
		"evidence":  func(c *Config) { c.Recognition.Evidence = true },
		"override":  func(c *Config) { c.Override = true },
		"selection": func(c *Config) { c.Exclude = []selection.Rule{{Image: "x"}} },
		"labels":    func(c *Config) { c.Labels.Attributes = map[string]string{"a": "b"} },
		"named":     func(c *Config) { c.Docker.Endpoint = p.shared.engine },
	} {
		other := with(change)
		require.Same(t, first.hub, other.hub, name)
		require.NotSame(t, first.tagger, other.tagger, name)
	}
	for name, change := range map[string]func(*Config){
		"tags of the host": func(c *Config) { c.HostTags = map[string]string{"role": "web"} },
		"name of the host": func(c *Config) { c.HostName = "other" },
		"root":             func(c *Config) { c.RootPath = t.TempDir() },
		"engine":           func(c *Config) { c.Docker.Endpoint = "unix:///nowhere.sock" },
		"no engine":        func(c *Config) { c.Docker.Enabled = false },
		"no recognition":   func(c *Config) { c.Recognition.Enabled = false },
		"another source":   func(c *Config) { c.Containerd.Endpoint = "unix:///nowhere.sock" },
		"variables":        func(c *Config) { c.Env.Attributes = map[string]string{"TIER": "tier"} },
	} {
		require.NotSame(t, first.hub, with(change).hub, name)
	}
	require.Len(t, p.shared.hubs, 9)
}

// The hub of two configurations works on until the last of them has ended.
func TestHubOutlivesOneConfig(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	p := newPipelines(t)
	cfg := p.config(nil)
	other := *cfg
	other.Override = true
	a, b := p.started(cfg), p.started(&other)
	h := a[0].hub
	for _, c := range a {
		require.NoError(t, c.Shutdown(t.Context()))
	}
	require.Same(t, h, b[0].hub)
	require.Len(t, p.shared.hubs, 1)
	// Not a source of the hub: those say themselves, and at any time, that they are down.
	const source = "the test"
	h.report.Up(source)
	require.True(t, h.store.Stats().Up[source])
}

// With every source that can be asked on this machine, all of them away or
// empty: nothing is left open at the end.
func TestAllIsReleased(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	p := newPipelines(t)
	dir := t.TempDir()
	tagsFile := filepath.Join(dir, "tags.yaml")
	require.NoError(t, os.WriteFile(tagsFile, []byte("role: db\n"), 0o600))
	tokenFile := filepath.Join(dir, "token")
	require.NoError(t, os.WriteFile(tokenFile, []byte("word"), 0o600))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	refused := "http://" + closed.Addr().String()
	all := p.started(p.config(func(c *Config) {
		c.RootPath = "/"
		c.Podman.Endpoint = "unix://" + filepath.Join(dir, "podman.sock")
		c.Containerd.Endpoint = "unix://" + filepath.Join(dir, "containerd.sock")
		c.CRIO.Endpoint = "unix://" + filepath.Join(dir, "crio.sock")
		c.Kubelet = KubeletConfig{Endpoint: refused, TokenFile: tokenFile}
		c.ECS = ECSConfig{Enabled: true, Endpoint: refused}
		c.HostTagsFile = tagsFile
	}))
	s := all[0].hub.store
	testkit.Eventually(t, patience, func() error {
		if tags := *all[0].tagger.host.Load(); tags.name == "" || !slices.ContainsFunc(tags.attributes, isRole) {
			return errors.New("the host is not known yet")
		}
		return nil
	})
	for name, up := range s.Stats().Up {
		if up && slices.Contains(all[0].hub.ofContainers, name) {
			t.Errorf("%s answers", name)
		}
	}
	require.Equal(t, []string{"docker", "podman", "containerd", "crio", "kubelet", "ecs"}, all[0].hub.ofContainers)
	for _, c := range all {
		require.NoError(t, c.Shutdown(t.Context()))
	}
}

func TestShutdownWithoutStart(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	p := newPipelines(t)
	for _, c := range p.made(p.config(nil)) {
		require.NoError(t, c.Shutdown(t.Context()))
		require.NoError(t, c.Shutdown(t.Context()))
	}
	require.Empty(t, p.shared.hubs)
}

// Who cannot start leaves nothing behind, and can start when the reason is gone.
func TestStartError(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	for name, c := range map[string]struct {
		spoil, mend func(*pipelines, *Config)
		want        string
	}{
		"labels": {
			func(_ *pipelines, c *Config) { c.Labels.Allow = []string{""} },
			func(_ *pipelines, c *Config) { c.Labels.Allow = nil }, "labels.allow",
		},
		"selection": {
			func(_ *pipelines, c *Config) { c.Include = make([]selection.Rule, 1) },
			func(_ *pipelines, c *Config) { c.Include = nil }, "include[0]",
		},
		"source": {
			func(_ *pipelines, c *Config) { c.Podman.Endpoint = "podman.sock" },
			func(_ *pipelines, c *Config) { c.Podman.Endpoint = "" }, "podman.endpoint",
		},
		"telemetry": {
			func(p *pipelines, _ *Config) { p.meters = badMeters{} },
			func(p *pipelines, _ *Config) { p.meters = nil }, errNoMeter.Error(),
		},
	} {
		p := newPipelines(t)
		cfg := p.config(nil)
		c.spoil(p, cfg)
		for _, one := range p.made(cfg) {
			require.ErrorContains(t, one.Start(t.Context(), p.host), c.want, name)
			require.NoError(t, one.Shutdown(t.Context()), name)
		}
		require.Empty(t, p.shared.hubs, name)
		require.Empty(t, p.shared.taggers, name)
		c.mend(p, cfg)
		p.started(cfg)
	}
}

var errNoMeter = errors.New("no more meters")

// badMeters refuses an instrument.
type badMeters struct{ noop.MeterProvider }

func (badMeters) Meter(string, ...metric.MeterOption) metric.Meter { return badMeter{} }

type badMeter struct{ noop.Meter }

func (badMeter) Int64ObservableCounter(string, ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	return nil, errNoMeter
}

// filter is the part of the extension docker_filter that others see.
type filter struct {
	component.StartFunc
	component.ShutdownFunc
	err error

	mu    sync.Mutex
	names []string
}

func (f *filter) DockerEndpoint() string { return "unix:///run/filtered.sock" }

func (f *filter) AllowAgentEnv(names []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names = append(f.names, names...)
	return f.err
}

func (p *pipelines) extend(f *filter) {
	p.host.extensions = map[component.ID]component.Component{
		component.MustNewID("zpages"):        struct{ component.Component }{},
		component.MustNewID("docker_filter"): f,
	}
}

// The engine is asked through the filter, which is told what may be shown.
func TestFilter(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	p := newPipelines(t)
	f := &filter{}
	p.extend(f)
	touch(t, p.shared.engine)
	c := p.started(p.config(func(c *Config) {
		c.Env.Attributes = map[string]string{"TIER": "tier"}
		c.Env.Allow = []string{"APP_*"}
	}))[0]
	require.Equal(t, "unix:///run/filtered.sock", c.hub.cfg.Docker.Endpoint)
	require.Subset(t, f.names, []string{"TIER", "APP_*", "OTEL_SERVICE_NAME"})
	require.Empty(t, p.warnings())
}

func TestFilterRefuses(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	p := newPipelines(t)
	p.extend(&filter{err: errors.New("TIER: no name")})
	p.started(p.config(nil))
	all := p.logs.FilterMessage("docker_filter does not show some environment variables; they do not become tags").All()
	require.Len(t, all, 3, "one for each pipeline")
	require.Equal(t, zapcore.WarnLevel, all[0].Level)
	require.Equal(t, "TIER: no name", all[0].ContextMap()["error"])
}

// Who names an engine, or wants none, does not mean the filter.
func TestFilterIsNotMeant(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	for _, change := range []func(*Config){
		func(c *Config) { c.Docker.Endpoint = "unix:///run/other.sock" },
		func(c *Config) { c.Docker.Enabled = false },
	} {
		p := newPipelines(t)
		f := &filter{}
		p.extend(f)
		cfg := p.config(change)
		require.Equal(t, cfg.Docker.Endpoint, p.started(cfg)[0].hub.cfg.Docker.Endpoint)
		require.Empty(t, f.names)
	}
}

// The engine's own socket, if there is one, is worth a warning; one is enough.
func TestUnfilteredEngine(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	p := newPipelines(t)
	p.started(p.config(nil))
	require.Empty(t, p.warnings(), "no engine, no danger")

	p = newPipelines(t)
	touch(t, p.shared.engine)
	p.started(p.config(nil))
	p.started(p.config(nil))
	lines := p.logs.FilterMessageSnippet("this socket is not filtered").All()
	require.Len(t, lines, 1)
	require.Equal(t, zapcore.WarnLevel, lines[0].Level)
	require.Equal(t, p.shared.engine, lines[0].ContextMap()["endpoint"])
}

func touch(t *testing.T, endpoint string) {
	t.Helper()
	require.True(t, docker.SocketMissing(endpoint))
	path := endpoint[len("unix://"):]
	require.NoError(t, os.WriteFile(path, nil, 0o600))
}

// Who has sent a batch: only if that is asked for, and an address is known.
func TestPeerOf(t *testing.T) {
	peer := func(wanted bool, from net.Addr) string {
		c := &core{cfg: &Config{PeerAddress: wanted}}
		addr := c.peerOf(client.NewContext(t.Context(), client.Info{Addr: from}))
		if !addr.IsValid() {
			return ""
		}
		return addr.String()
	}
	tcp := &net.TCPAddr{IP: net.ParseIP("172.17.0.9"), Port: 4000}
	require.Equal(t, "172.17.0.9", peer(true, tcp))
	require.Equal(t, "172.17.0.9", peer(true, &net.UDPAddr{IP: net.ParseIP("::ffff:172.17.0.9"), Port: 1}))
	require.Equal(t, "fd00::9", peer(true, &net.TCPAddr{IP: net.ParseIP("fd00::9"), Port: 4000}))
	require.Empty(t, peer(false, tcp))
	require.Empty(t, peer(true, nil))
	require.Empty(t, peer(true, &net.UnixAddr{Name: "/run/otlp.sock", Net: "unix"}))
	require.Equal(t, "172.17.0.9", peer(true, &net.IPAddr{IP: net.ParseIP("172.17.0.9")}))
	require.Empty(t, peer(true, &net.TCPAddr{Port: 4000}))
}

// What had waited and is not taken is counted each time and said once.
func TestHandedOn(t *testing.T) {
	p := newPipelines(t)
	c := p.made(p.config(nil))[0]
	c.handedOn(nil, 5)
	require.Empty(t, p.warnings())
	for range 3 {
		c.handedOn(errors.New("full"), 2)
	}
	require.EqualValues(t, 6, c.counts.refusedItems.Load())
	require.Len(t, p.warnings(), 1)
}

func isRole(a entity.Attribute) bool { return a.Key == "role" && a.Value == "db" }
