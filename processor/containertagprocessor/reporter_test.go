package containertagprocessor

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/sinktest"
)

// newReporter reports of two engines, and of whatever else tells of the host.
func newReporter() (*reporter, *sinktest.Recorder, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.DebugLevel)
	sink := new(sinktest.Recorder)
	h := &hub{log: zap.New(core), ofContainers: []string{"docker", "podman"}}
	return &reporter{Sink: sink, hub: h, reasons: map[string]string{}}, sink, logs
}

// lines returns what was logged since the last time: "warn docker: ...".
func lines(logs *observer.ObservedLogs) (all []string) {
	for _, l := range logs.TakeAll() {
		source, _ := l.ContextMap()["source"].(string)
		all = append(all, l.Level.String()+" "+source+": "+l.Message)
	}
	return all
}

const (
	noEngine   = "no Docker engine answers; it is asked for tags as soon as one does"
	notThere   = "a source of tags does not answer; it is tried again"
	wentAway   = "a source of tags does not answer any more; data of new containers goes on without its tags"
	answers    = "a source of tags answers"
	answersNow = "a source of tags answers again"
)

func TestReporterTransitions(t *testing.T) {
	r, sink, logs := newReporter()
	away := errors.New("connection refused")
	said := func(want ...string) {
		t.Helper()
		if got := lines(logs); !slices.Equal(got, want) {
			t.Errorf("logged %q, want %q", got, want)
		}
	}
	// The engine that nobody asked for is not there: nothing to warn of.
	r.Down("docker", away)
	said("info docker: " + noEngine)
	require.False(t, r.hub.anyUp())
	r.Down("docker", away)
	said()
	r.Up("docker")
	said("info docker: " + answersNow)
	require.True(t, r.hub.anyUp())
	r.Up("docker")
	said()
	r.Down("docker", away)
	said("warn docker: " + wentAway)
	r.Down("docker", away)
	said()
	require.False(t, r.hub.anyUp())
	r.Up("docker")
	said("info docker: " + answersNow)
	// One that was configured is.
	r.Down("podman", away)
	said("warn podman: " + notThere)
	require.True(t, r.hub.anyUp(), "the other one answers")
	r.Up("podman")
	said("info podman: " + answersNow)
	r.Down("docker", away)
	said("warn docker: " + wentAway)
	require.True(t, r.hub.anyUp())

	require.Equal(t, []string{
		"down docker", "down docker", "up docker", "up docker", "down docker", "down docker", "up docker",
		"down podman", "up podman", "down docker",
	}, sink.Calls(), "the store hears of everything")
}

func TestReporterFirstUp(t *testing.T) {
	r, _, logs := newReporter()
	r.Up("docker")
	require.Equal(t, []string{"info docker: " + answers}, lines(logs))
	require.True(t, r.hub.anyUp())
}

// An engine that somebody has named is missed.
func TestReporterExplicit(t *testing.T) {
	r, _, logs := newReporter()
	r.hub.explicit = true
	why := errors.New("connection refused")
	r.Down("docker", why)
	all := logs.All()
	require.Len(t, all, 1)
	require.Equal(t, why.Error(), all[0].ContextMap()["error"])
	require.Equal(t, []string{"warn docker: " + notThere}, lines(logs))
}

// Who tells of the host only does not make containers known.
func TestReporterOfTheHost(t *testing.T) {
	r, _, logs := newReporter()
	r.Up("cloud")
	require.Empty(t, lines(logs))
	require.False(t, r.hub.anyUp())
	r.Down("cloud", errors.New("timeout"))
	require.Equal(t, []string{"warn cloud: " + wentAway}, lines(logs))
	r.Down("cloud", errors.New("timeout"))
	require.Empty(t, lines(logs))
	r.Down("cloud", errors.New("refused"))
	require.Equal(t, []string{"warn cloud: " + notThere}, lines(logs), "another reason")
	r.Up("cloud")
	require.Equal(t, []string{"info cloud: " + answersNow}, lines(logs))
	require.False(t, r.hub.anyUp())
	require.Zero(t, r.hub.up.Load())
}
