package containertagprocessor

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/metadata"
)

// recognise writes on the board of this host's view, as the receiver discovery does.
func recognise(t *testing.T) *hostview.View {
	t.Helper()
	testkit.NeedCgroup(t)
	view, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/")})
	require.NoError(t, err)
	t.Cleanup(view.Release)
	return view
}

// tagged is what is put on the data of a container.
func (p *pipelines) tagged(cfg *Config, id string) map[string]any {
	p.t.Helper()
	sink := &consumertest.MetricsSink{}
	set := processortest.NewNopSettings(metadata.Type)
	m, err := p.shared.createMetrics(p.t.Context(), set, cfg, sink)
	require.NoError(p.t, err)
	require.NoError(p.t, m.Start(p.t.Context(), p.host))
	require.NoError(p.t, m.ConsumeMetrics(p.t.Context(), metricsOf(resource("container.id", id))))
	require.NoError(p.t, m.Shutdown(p.t.Context()))
	all := sink.AllMetrics()
	require.Len(p.t, all, 1)
	return all[0].ResourceMetrics().At(0).Resource().Attributes().AsRaw()
}

func isUp(t *testing.T, h *hub, sources ...string) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		for _, name := range sources {
			if !h.store.Stats().Up[name] {
				return fmt.Errorf("%s is not up", name)
			}
		}
		return nil
	})
}

// What discovery writes on the board of a host gets onto the data of its containers,
// changes with what runs in them, and says how it is known if that is asked for.
func TestRecognition(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	view := recognise(t)
	p := newPipelines(t)
	cfg := p.config(func(c *Config) { c.RootPath, c.Wait = "/", 0 })
	evident := p.config(func(c *Config) { c.RootPath, c.Wait, c.Recognition.Evidence = "/", 0, true })
	off := p.config(func(c *Config) { c.RootPath, c.Wait, c.Recognition.Enabled = "/", 0, false })
	hub := p.started(cfg)[0].hub
	require.Same(t, hub, p.started(evident)[0].hub)
	isUp(t, hub, "host", "recognition")
	isUp(t, p.started(off)[0].hub, "host")
	tier, err := view.Tier()
	require.Equal(t, hostview.TierProc, tier, "no process stream is begun")
	require.NoError(t, err)

	hub.store.PutContainer("docker", &entity.Container{ID: oneID, Name: "cache"})
	f := func(cfg *Config, id, technology, confidence string) {
		t.Helper()
		got := p.tagged(cfg, id)
		for key, want := range map[string]string{
			"service.technology": technology, "service.technology_confidence": confidence,
		} {
			if want == "" {
				require.NotContains(t, got, key)
			} else {
				require.Equal(t, want, got[key], key)
			}
		}
		require.Contains(t, got, "host.name")
		if id == oneID && cfg != off {
			require.Equal(t, "cache", got["container.name"])
		}
	}
	put := func(id string, names ...string) {
		var all []target.Technology
		for _, name := range names {
			all = append(all, target.Technology{Name: name, Confidence: target.Certain, By: "executable " + name})
		}
		view.Findings().Put(id, all)
	}
	f(cfg, oneID, "", "")
	put(oneID, "redis", "python")
	put(otherID, "nginx")
	f(cfg, oneID, "redis", "")
	f(evident, oneID, "redis", "certain")
	f(off, oneID, "", "")
	f(cfg, otherID, "nginx", "")
	f(evident, otherID, "nginx", "certain")
	put(oneID, "valkey")
	f(cfg, oneID, "valkey", "")
	put(oneID)
	put(otherID)
	f(cfg, oneID, "", "")
	f(cfg, otherID, "", "")
	put(oneID, "redis")
	view.Findings().Remove(oneID)
	f(cfg, oneID, "redis", "") // its last words are still of the same
}

// What is found out after the first points is left off the page for Prometheus by the
// default configuration: there each series would stand twice until the first expires.
func TestRecognitionIsOffThePage(t *testing.T) {
	content, err := os.ReadFile("../../otelcol-config.yaml")
	require.NoError(t, err)
	found := regexp.MustCompile(`delete_matching_keys\(resource\.attributes, ("[^"]+")\)`).FindSubmatch(content)
	require.NotNil(t, found)
	pattern, err := strconv.Unquote(string(found[1]))
	require.NoError(t, err)
	left := regexp.MustCompile(pattern)
	for _, key := range []string{"service.technology", "service.technology_confidence", "service.technology_seen_by", "host.name"} {
		require.True(t, left.MatchString(key), key)
	}
	for _, key := range []string{"service.name", "service.technology_of_mine", "container.name"} {
		require.False(t, left.MatchString(key), key)
	}
}
