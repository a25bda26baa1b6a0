package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A container that gets its name a moment after its first sample, because the engine
// was slow to answer, is one line on a plot and not two.
func TestRecorderLateName(t *testing.T) {
	t.Parallel()
	a := startRecorder(t, alone(t))
	s := newSender(t, a.agent)
	id := newContainerID(t)
	send := func(second int64, name string) {
		md := pmetric.NewMetrics()
		resource := md.ResourceMetrics().AppendEmpty()
		resource.Resource().Attributes().PutStr("container.id", id)
		if name != "" {
			resource.Resource().Attributes().PutStr("container.name", name)
		}
		metric := resource.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		metric.SetName("container.pids.count")
		point := metric.SetEmptyGauge().DataPoints().AppendEmpty()
		point.SetTimestamp(pcommon.NewTimestampFromTime(time.Unix(second, 0)))
		point.SetIntValue(second)
		require.NoError(t, s.metrics(md))
	}
	now := time.Now().Unix()
	for second := now - 10; second <= now; second++ {
		name := ""
		if second >= now-5 {
			name = "late"
		}
		send(second, name)
	}
	expr := fmt.Sprintf("count(container_pids_count{container_id=%q})", id)
	testkit.Eventually(t, soon, func() error {
		n, err := a.value(fmt.Sprintf("sum(count_over_time(container_pids_count{container_id=%q}[1m]))", id))
		if err == nil && n < 11 {
			err = fmt.Errorf("%v samples: %w", n, errNotYet)
		}
		return err
	})
	found, err := a.matrix(expr, span{now - 10, now})
	require.NoError(t, err)
	require.Len(t, found, 1)
	for second := now - 10; second <= now; second++ {
		require.Equal(t, 1.0, found[0][second], "lines %d s after the name came", second-now+5)
	}
}
