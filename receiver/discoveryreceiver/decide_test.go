package discoveryreceiver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// newDeciding is a discovery that looks at nothing: it is told of containers by the test,
// as if by an engine that answers.
func newDeciding(t *testing.T, r *rig) *discovery {
	t.Helper()
	d := &discovery{
		o:   discoveryOptions{Config: r.cfg, Settings: r.settings, Host: r.host, Metrics: r.points, Logs: r.records},
		log: r.settings.Logger, known: map[string]*known{},
		cancel: func() {}, giveUp: func() {}, quit: make(chan struct{}),
	}
	require.NoError(t, errors.Join(d.openPlan(), d.openRunner()))
	d.engine.isAsked.Store(true)
	return d
}

// Each container waits for its own name alone: the one that has waited for long does not
// wait for the one that has just come.
func TestShortestWait(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	const left = 100 * time.Millisecond
	for _, order := range [][]string{{"old", "new"}, {"new", "old"}} {
		d := newDeciding(t, newRig(t, nil))
		begun := time.Now()
		d.known["old"] = &known{since: begun.Add(left - nameWithin)}
		d.changed([]*target.Target{{ID: order[0]}, {ID: order[1]}})
		require.False(t, d.isJudged("old") || d.isJudged("new"))
		testkit.Eventually(t, patience, func() error {
			if !d.isJudged("old") {
				return errors.New("still waits")
			}
			return nil
		})
		require.Less(t, time.Since(begun), nameWithin, "%v", order)
		require.False(t, d.isJudged("new"))
		testkit.Eventually(t, patience, func() error {
			if !d.isJudged("new") {
				return errors.New("still waits")
			}
			return nil
		})
		require.GreaterOrEqual(t, time.Since(begun), nameWithin)
		require.NoError(t, d.stop(t.Context()))
	}
}

// A container that asks for its output, which is not written yet, is asked about again
// while nothing about it changes, until that is there.
func TestAskAgain(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	h := newHanging()
	r := newRig(t, func(c *Config) { c.DockerRoot, c.LookInterval = t.TempDir(), time.Second })
	r.host.factories["file_log"] = h.factory("file_log")
	d := newDeciding(t, r)
	shop := &target.Target{
		ID: strings.Repeat("ab", 32), Name: "shop", Runtime: "docker", Labels: map[string]string{"io.opentelemetry.discovery.logs/enabled": "true"},
	}
	d.changed([]*target.Target{shop})
	require.True(t, d.isJudged(shop.ID))
	require.Zero(t, d.runner.Stats().Places)
	folder := filepath.Join(r.cfg.DockerRoot, "containers", shop.ID)
	require.NoError(t, os.MkdirAll(folder, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(folder, shop.ID+"-json.log"), nil, 0o644))
	testkit.Eventually(t, patience, func() error {
		if d.runner.Stats().Places != 1 {
			return errors.New("nothing is wanted")
		}
		return nil
	})
	<-h.begun
	close(h.end)
	d.deciding.Lock()
	require.False(t, d.known[shop.ID].verdict.Again)
	d.deciding.Unlock()
	require.NoError(t, d.stop(t.Context()))
}

func (d *discovery) isJudged(id string) bool {
	d.deciding.Lock()
	defer d.deciding.Unlock()
	k := d.known[id]
	return k != nil && k.target != nil
}
