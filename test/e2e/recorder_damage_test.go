package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A changed byte on the disk costs what it is in, is told of, and the rest is
// answered.
func TestRecorderDamage(t *testing.T) {
	t.Parallel()
	t.Run("block", damagedBlock)
	t.Run("events", damagedEvents)
}

// burst is a past that is sent as fast as it is taken: a sample of each series each
// second, and 10 events a second. Its last second is now.
type burst struct{ series, minutes int }

// pastOf records a burst and returns the state folder of an agent that has ended.
func pastOf(t *testing.T, b burst) string {
	t.Helper()
	state, _ := record(t, b)
	return state
}

func record(t *testing.T, b burst) (state string, s span) {
	t.Helper()
	settings := alone(t)
	settings.state = t.TempDir()
	a := startRecorder(t, settings)
	send := newSender(t, a.agent)
	s.to = time.Now().Unix()
	s.from = s.to - int64(b.minutes)*60
	// The queue in front of the recorder drops what is too much at once.
	const batch = 10_000
	each := max(1, int64(batch/b.series)) // seconds
	for from := s.from; from <= s.to; from += each {
		md, ld := b.batch(span{from, min(from+each-1, s.to)})
		require.NoError(t, send.metrics(md))
		require.NoError(t, send.logs(ld))
		testkit.Eventually(t, soon, func() error {
			stats, err := a.stats()
			if err == nil && stats.Queue.Length > batch {
				err = fmt.Errorf("%d wait: %w", stats.Queue.Length, errTooMany)
			}
			return err
		})
	}
	testkit.Eventually(t, soon, func() error {
		n, err := a.value(fmt.Sprintf("count(timestamp(e2e_past) == %d)", s.to))
		if err == nil && n != float64(b.series) {
			err = fmt.Errorf("%v of %d series: %w", n, b.series, errNotYet)
		}
		return err
	})
	stats, err := a.stats()
	require.NoError(t, err)
	require.Empty(t, stats.Queue.Dropped)
	// Full blocks are written once there is more than one and a half of them.
	testkit.Eventually(t, soon, func() error {
		if len(filesLike(t, a.directory(), "raw/*/*/meta.json")) == 0 && len(filesLike(t, a.directory(), "raw/*/meta.json")) == 0 {
			return fmt.Errorf("blocks: %w", errNotYet)
		}
		return nil
	})
	_, code := a.stop()
	require.Zero(t, code)
	return a.state, s
}

const (
	eventsPerSecond = 10
	// perService is half of what a service may have, see series_per_container.
	perService = 1000
)

func (b burst) batch(s span) (pmetric.Metrics, plog.Logs) {
	md, ld := pmetric.NewMetrics(), plog.NewLogs()
	services := make([]pmetric.NumberDataPointSlice, (b.series+perService-1)/perService)
	for i := range services {
		resource := md.ResourceMetrics().AppendEmpty()
		resource.Resource().Attributes().PutStr("service.name", fmt.Sprintf("past-%d", i))
		metric := resource.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		metric.SetName("e2e.past")
		services[i] = metric.SetEmptyGauge().DataPoints()
	}
	records := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for second := s.from; second <= s.to; second++ {
		at := pcommon.NewTimestampFromTime(time.Unix(second, 0))
		for n := range b.series {
			p := services[n/perService].AppendEmpty()
			p.SetTimestamp(at)
			p.SetDoubleValue(float64(second))
			p.Attributes().PutInt("n", int64(n))
		}
		for n := range eventsPerSecond {
			record := records.AppendEmpty()
			record.SetTimestamp(at)
			record.SetEventName("e2e.past")
			record.Body().SetStr(fmt.Sprintf("event %d of second %d", n, second))
		}
	}
	return md, ld
}

// seriesOfBurst is enough for a block with more than one chunk of each series.
const seriesOfBurst = 200

func damagedBlock(t *testing.T) {
	state, s := record(t, burst{series: seriesOfBurst, minutes: 35})
	chunks := filesLike(t, state, "recorder/raw/*/*/chunks/000001")
	chunks = append(chunks, filesLike(t, state, "recorder/raw/*/chunks/000001")...)
	require.NotEmpty(t, chunks)
	flip(t, chunks[0])

	again := alone(t)
	again.state = state
	a := startRecorder(t, again)
	// The TSDB checks a sample when it is asked for. What it meets then is told, and
	// from then on the rest is answered.
	var whole samples
	testkit.Eventually(t, soon, func() error {
		found, err := a.matrix("count(e2e_past == time())", s)
		if err == nil && (len(found) != 1 || len(found[0]) < int(s.to-s.from)/2) {
			err = fmt.Errorf("answered %d series: %w", len(found), errNotYet)
		}
		if err == nil {
			whole = found[0]
		}
		return err
	})
	short := 0
	for second := s.from; second <= s.to; second++ {
		require.GreaterOrEqual(t, whole[second], float64(seriesOfBurst-1), "second %d of %d", second-s.from, s.to-s.from)
		if whole[second] < seriesOfBurst {
			short++
		}
	}
	t.Logf("%d of %d samples lost", short, seriesOfBurst*(s.to-s.from+1))
	require.Positive(t, short, "the damage was not in the samples")
	a.tells(t, "damaged")
}

func damagedEvents(t *testing.T) {
	state, s := record(t, burst{series: 1, minutes: 25})
	segments := filesLike(t, state, "recorder/events/*.tev")
	require.NotEmpty(t, segments)
	flip(t, segments[0])

	again := alone(t)
	again.state = state
	a := startRecorder(t, again)
	events, err := a.recorded("", "e2e.past")
	require.NoError(t, err)
	all := int(s.to-s.from+1) * eventsPerSecond
	t.Logf("%d of %d events are left in %d segments", len(events), all, len(segments))
	require.Less(t, len(events), all, "the damage was not in the events")
	a.tells(t, "damaged")
	require.Contains(t, a.log(), segments[0])
}

// tells proves that log and API say what was damaged.
func (a *recorderAgent) tells(t *testing.T, what string) {
	t.Helper()
	require.Contains(t, a.log(), what)
	testkit.Eventually(t, noticed, func() error {
		stats, err := a.stats()
		if err != nil {
			return err
		}
		status, err := a.status()
		said := strings.Join(append(status.Messages, stats.Recovery.Repaired...), " ") + stats.Recovery.Lost
		if err == nil && !strings.Contains(said, what) {
			err = fmt.Errorf("%q has no %q: %w", said, what, errMissing)
		}
		return err
	})
	require.NoError(t, a.healthy())
}

// flip changes one bit in the middle of a file.
func flip(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	content[len(content)/2] ^= 0x10
	require.NoError(t, os.WriteFile(path, content, 0o600))
}
