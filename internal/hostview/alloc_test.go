package hostview_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostview/sampler"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A pass in which nothing changes allocates nothing per container.
func TestSteadyPassAllocates(t *testing.T) {
	v := acquire(t)
	id := newID(t)
	parent := testkit.Cgroup(t, "/tallyman-test-alloc-"+id[:8])
	const containers = 20
	for range containers {
		parent.Child(newID(t))
	}
	s := v.Sampler(t.Name(), sampler.Settings{
		SlowInterval: time.Hour,
		MaxOpenFiles: 100 * containers,
		Want:         func(c container.Cgroup) bool { return strings.HasPrefix(c.Path, parent.Path()+"/") },
	})
	defer v.ReleaseSampler(t.Name())
	consumer := s.Subscribe()
	defer consumer.Close()
	live := 0
	collect := func() { consumer.Collect(func(p *sampler.Pass) { live = len(p.Live) }) }
	testkit.Eventually(t, patience, func() error {
		collect()
		if live < containers {
			return errNotYet
		}
		return nil
	})
	require.Less(t, testing.AllocsPerRun(100, collect), float64(containers))
}
