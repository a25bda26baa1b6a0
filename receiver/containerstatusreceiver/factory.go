package containerstatusreceiver

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/scraper"
	"go.opentelemetry.io/collector/scraper/scraperhelper"

	"github.com/tallymanhq/tallyman/receiver/containerstatusreceiver/internal/metadata"
)

// NewFactory returns the factory of the container_status receiver.
func NewFactory() receiver.Factory { return newFactory(watchEngine) }

// newFactory takes what looks at an engine, so that tests can tell a story of
// their own.
func newFactory(open opener) receiver.Factory {
	shared := newWatches(open)
	return receiver.NewFactory(
		metadata.Type,
		createDefaultConfig,
		receiver.WithMetrics(func(_ context.Context, set receiver.Settings, c component.Config, next consumer.Metrics) (receiver.Metrics, error) {
			return createMetrics(shared, set, c.(*Config), next)
		}, metadata.MetricsStability),
		receiver.WithLogs(func(_ context.Context, set receiver.Settings, c component.Config, next consumer.Logs) (receiver.Logs, error) {
			return newLogsReceiver(shared, set, c.(*Config), next)
		}, metadata.LogsStability),
	)
}

func createMetrics(shared *watches, set receiver.Settings, cfg *Config, next consumer.Metrics) (receiver.Metrics, error) {
	e := newMetricsEmitter(shared, set, cfg)
	s, err := scraper.NewMetrics(e.scrape, scraper.WithStart(e.start), scraper.WithShutdown(e.shutdown))
	if err != nil {
		return nil, err
	}
	controller, err := scraperhelper.NewMetricsController(&cfg.ControllerConfig, set, next, scraperhelper.AddMetricsScraper(metadata.Type, s))
	if err != nil {
		e.leave()
		return nil, err
	}
	return controller, nil
}
