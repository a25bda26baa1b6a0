package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A host without cgroups has no containers to show. The agent says so once,
// and does the rest of its work.
func TestNoCgroups(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "unshare", "umount")
	a := startAgent(t, settings{wrap: []string{
		"unshare", "--mount", "--propagation", "private",
		"sh", "-c", `umount -l /sys/fs/cgroup && exec "$@"`, "sh",
	}})
	require.NoError(t, a.sendGauge("sent.by.application", 42))
	testkit.Eventually(t, soon, func() error {
		now, err := a.page()
		if err != nil {
			return err
		}
		host := now[""]
		_, load := host["system_cpu_load_average_1m"]
		if !load {
			err = fmt.Errorf("host metrics: %w", errMissing)
		}
		return errors.Join(err, host.want("sent_by_application", 42))
	})
	require.NoError(t, a.healthy())
	require.NoError(t, a.alive())

	// One line for each of the two signals, with the way out.
	var lines []string
	for _, line := range complaints(a.log()) {
		require.Contains(t, line, `"otelcol.component.id": "cgroup"`)
		require.Contains(t, line, "no containers will be seen")
		require.Contains(t, line, "/sys/fs/cgroup")
		require.NotContains(t, line, "goroutine ")
		lines = append(lines, line)
	}
	require.NotEmpty(t, lines)
	require.LessOrEqual(t, len(lines), 2, strings.Join(lines, ""))
	_, code := a.stop()
	require.Zero(t, code)
}

// sendGauge sends one number the way applications do.
func (a *agent) sendGauge(name string, value int64) error {
	metrics := pmetric.NewMetrics()
	metric := metrics.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	metric.SetName(name)
	metric.SetEmptyGauge().DataPoints().AppendEmpty().SetIntValue(value)
	body, err := pmetricotlp.NewExportRequestFromMetrics(metrics).MarshalProto()
	if err != nil {
		return fmt.Errorf("encode metrics: %w", err)
	}
	request, err := http.NewRequest(http.MethodPost, "http://"+a.otlpHTTP+"/v1/metrics", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("send metrics: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	request.Close = true // a kept connection would look like a leak
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err // has verb and URL
	}
	defer response.Body.Close()
	if _, err := readAll(response); err != nil {
		return fmt.Errorf("send metrics: %w", err)
	}
	return nil
}
