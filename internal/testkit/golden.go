package testkit

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/plogtest"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/pmetrictest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// UpdateEnv set to "1" makes CompareMetrics and CompareLogs write what they
// are given to the golden file. The diff is then reviewed like code.
const UpdateEnv = "TALLYMAN_UPDATE"

// CompareMetrics fails the test if got differs from the golden YAML file. The
// order of resources, scopes, metrics and data points does not matter; options
// take out what differs from run to run, such as pmetrictest.IgnoreTimestamp().
func CompareMetrics(t testing.TB, file string, got pmetric.Metrics, options ...pmetrictest.CompareMetricsOption) {
	t.Helper()
	if os.Getenv(UpdateEnv) == "1" {
		makeParent(t, file)
		// To a file and not by golden.WriteMetrics: that fails the test in
		// order to be removed again, which a switch need not be.
		if err := golden.WriteMetricsToFile(file, got); err != nil {
			t.Fatalf("update golden metrics: %v", err)
		}
	}
	want, err := golden.ReadMetrics(file)
	if err != nil {
		t.Fatalf("read golden metrics (%s=1 writes them): %v", UpdateEnv, err)
	}
	options = append([]pmetrictest.CompareMetricsOption{
		pmetrictest.IgnoreResourceMetricsOrder(), pmetrictest.IgnoreScopeMetricsOrder(),
		pmetrictest.IgnoreMetricsOrder(), pmetrictest.IgnoreMetricDataPointsOrder(),
	}, options...)
	if os.Getenv(UpdateEnv) == "1" {
		// What was written has its timestamps normalised.
		options = append(options, pmetrictest.IgnoreTimestamp(), pmetrictest.IgnoreStartTimestamp())
	}
	if err := pmetrictest.CompareMetrics(want, got, options...); err != nil {
		t.Errorf("metrics differ from %s (%s=1 updates it):\n%v", file, UpdateEnv, err)
	}
}

// CompareLogs is CompareMetrics for logs.
func CompareLogs(t testing.TB, file string, got plog.Logs, options ...plogtest.CompareLogsOption) {
	t.Helper()
	if os.Getenv(UpdateEnv) == "1" {
		makeParent(t, file)
		if err := golden.WriteLogsToFile(file, got); err != nil {
			t.Fatalf("update golden logs: %v", err)
		}
	}
	want, err := golden.ReadLogs(file)
	if err != nil {
		t.Fatalf("read golden logs (%s=1 writes them): %v", UpdateEnv, err)
	}
	options = append([]plogtest.CompareLogsOption{
		plogtest.IgnoreResourceLogsOrder(), plogtest.IgnoreScopeLogsOrder(), plogtest.IgnoreLogRecordsOrder(),
	}, options...)
	if err := plogtest.CompareLogs(want, got, options...); err != nil {
		t.Errorf("logs differ from %s (%s=1 updates it):\n%v", file, UpdateEnv, err)
	}
}

func makeParent(t testing.TB, file string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
}
