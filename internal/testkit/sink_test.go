package testkit_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestSinkReceives(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	sink := testkit.NewSink(t)
	conn, err := grpc.NewClient(sink.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()

	metrics := pmetricotlp.NewGRPCClient(conn)
	_, err = metrics.Export(t.Context(), pmetricotlp.NewExportRequestFromMetrics(someMetrics(7)))
	require.NoError(t, err)
	require.Len(t, sink.Metrics(), 1)
	testkit.CompareMetrics(t, "testdata/sink.yaml", sink.Metrics()[0])

	_, err = plogotlp.NewGRPCClient(conn).Export(t.Context(), plogotlp.NewExportRequestFromLogs(someLogs()))
	require.NoError(t, err)
	require.Len(t, sink.Logs(), 1)
	testkit.CompareLogs(t, "testdata/sink-logs.yaml", sink.Logs()[0])

	_, err = ptraceotlp.NewGRPCClient(conn).Export(t.Context(), ptraceotlp.NewExportRequestFromTraces(ptrace.NewTraces()))
	require.NoError(t, err)
	require.Len(t, sink.Traces(), 1)

	sink.Gate(false)
	_, err = metrics.Export(t.Context(), pmetricotlp.NewExportRequestFromMetrics(someMetrics(8)))
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Equal(t, 1, sink.Refused())
	require.Len(t, sink.Metrics(), 1)
	sink.Gate(true)
	_, err = metrics.Export(t.Context(), pmetricotlp.NewExportRequestFromMetrics(someMetrics(8)))
	require.NoError(t, err)
	require.Len(t, sink.Metrics(), 2)

	sink.Reset()
	require.Empty(t, sink.Metrics())
	require.NoError(t, sink.Close())
	require.NoError(t, sink.Close())
}

func TestCompareMetricsSeesADifference(t *testing.T) {
	t.Setenv(testkit.UpdateEnv, "")
	r := &recorder{TB: t}
	r.run(func() { testkit.CompareMetrics(r, "testdata/sink.yaml", someMetrics(8)) })
	require.Len(t, r.failures, 1)
	require.Contains(t, r.failures[0], testkit.UpdateEnv)
}

func TestUpdateWritesWhatIsThenRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "golden.yaml")
	t.Setenv(testkit.UpdateEnv, "1")
	testkit.CompareMetrics(t, file, someMetrics(9))
	t.Setenv(testkit.UpdateEnv, "")
	testkit.CompareMetrics(t, file, someMetrics(9))
}

// someMetrics has one gauge. Its time is the one golden files begin with.
func someMetrics(value int64) pmetric.Metrics {
	metrics := pmetric.NewMetrics()
	resource := metrics.ResourceMetrics().AppendEmpty()
	resource.Resource().Attributes().PutStr("container.id", "4711")
	metric := resource.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	metric.SetName("test.answer")
	point := metric.SetEmptyGauge().DataPoints().AppendEmpty()
	point.SetTimestamp(1_000_000)
	point.SetIntValue(value)
	return metrics
}

func someLogs() plog.Logs {
	logs := plog.NewLogs()
	record := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	record.SetEventName("container.start")
	record.Attributes().PutInt("container.pid", 4711)
	record.SetTimestamp(1_000_000)
	return logs
}
