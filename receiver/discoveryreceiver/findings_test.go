package discoveryreceiver

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A discovery that does not recognise says nothing of what containers are, and takes back
// nothing that another one says.
func TestNotRecognising(t *testing.T) {
	testkit.NeedCgroup(t)
	testkit.VerifyNoLeaks(t)
	view, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/")})
	require.NoError(t, err)
	defer view.Release()
	blind := newRig(t, func(c *Config) {
		c.Recognise, c.Rules = false, []rules.Config{prometheusRule(`executable == "nginx" && port > 0`)}
	})
	web := startContainer(t, "nginx")
	// Another one has said it.
	view.Findings().Put(web.id, []target.Technology{{Name: "nginx"}})
	defer view.Findings().Remove(web.id)
	blind.start(t)
	blind.collects(t, web.id, "app_requests_total")
	require.Len(t, view.Findings().Get(web.id), 1, "it has decided")
	require.NoError(t, blind.metrics.Shutdown(t.Context()))
	require.Len(t, view.Findings().Get(web.id), 1, "it has stopped")
}

// Two discoveries that recognise: what one takes back the other still says.
func TestTwoRecognise(t *testing.T) {
	testkit.NeedCgroup(t)
	testkit.VerifyNoLeaks(t)
	view, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/")})
	require.NoError(t, err)
	defer view.Release()
	one, two := newRig(t, nil), newRig(t, nil)
	one.start(t)
	two.start(t)
	web := startContainer(t, "nginx")
	for _, r := range []*rig{one, two} {
		testkit.Eventually(t, patience, func() error {
			if _, isKnown := knownTo(r, web.id); !isKnown || len(view.Findings().Get(web.id)) == 0 {
				return is("known", "unknown")
			}
			return nil
		})
	}
	require.NoError(t, one.metrics.Shutdown(t.Context()))
	require.Len(t, view.Findings().Get(web.id), 1)
	require.NoError(t, two.metrics.Shutdown(t.Context()))
	require.Empty(t, view.Findings().Get(web.id))
}
