package hostview_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// The time of a cgroup that sleeps stands still, and goes on with anything that is
// done in it or below.
func TestMeter(t *testing.T) {
	alone(t)
	testkit.VerifyNoLeaks(t)
	testkit.NeedRoot(t)
	v := open(t)
	defer v.Release()
	const path = "/tallyman-test-meter/outer"
	testkit.Cgroup(t, path)
	// In cgroup v2 only leaves have processes.
	first, inner := testkit.Cgroup(t, path+"/first"), testkit.Cgroup(t, path+"/inner")
	testkit.Run(t, first, "sleep", "600")
	meter := v.NewMeter()
	var asleep time.Duration
	testkit.Eventually(t, time.Minute, func() error {
		before := asleep
		var ok bool
		asleep, ok = meter.CPUTime(path)
		require.True(t, ok)
		if asleep == 0 || before != asleep {
			return errors.New("it is not asleep yet")
		}
		return nil
	})
	testkit.Run(t, inner, "sleep", "600")
	testkit.Eventually(t, time.Minute, func() error {
		if now, _ := meter.CPUTime(path); now <= asleep {
			return errors.New("what runs below has used no time yet")
		}
		return nil
	})
	_, ok := meter.CPUTime("/tallyman-test-meter/nobody")
	require.False(t, ok)
}

func BenchmarkMeter(b *testing.B) {
	testkit.NeedRoot(b)
	v, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/")})
	require.NoError(b, err)
	defer v.Release()
	const path = "/tallyman-test-meter/bench"
	testkit.Cgroup(b, path)
	meter := v.NewMeter()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := meter.CPUTime(path); !ok {
			b.Fatal("no time")
		}
	}
}
