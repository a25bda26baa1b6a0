package netnsreceiver

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/scraper"
	"go.opentelemetry.io/collector/scraper/scraperhelper"

	"github.com/tallymanhq/tallyman/receiver/netnsreceiver/internal/metadata"
)

// NewFactory returns the factory of the netns receiver.
func NewFactory() receiver.Factory {
	return receiver.NewFactory(
		metadata.Type,
		createDefaultConfig,
		receiver.WithMetrics(createMetrics, metadata.MetricsStability),
		receiver.WithLogs(createLogs, metadata.LogsStability),
	)
}

func createMetrics(_ context.Context, set receiver.Settings, c component.Config, next consumer.Metrics) (receiver.Metrics, error) {
	cfg := c.(*Config)
	e := newMetricsEmitter(cfg, set)
	s, err := scraper.NewMetrics(e.scrape, scraper.WithStart(e.start), scraper.WithShutdown(e.shutdown))
	if err != nil {
		return nil, err
	}
	return scraperhelper.NewMetricsController(&cfg.ControllerConfig, set, withoutNothing{next}, scraperhelper.AddMetricsScraper(metadata.Type, s))
}

func createLogs(_ context.Context, set receiver.Settings, c component.Config, next consumer.Logs) (receiver.Logs, error) {
	cfg := c.(*Config)
	e := newLogsEmitter(cfg, set)
	s, err := scraper.NewLogs(e.scrape, scraper.WithStart(e.start), scraper.WithShutdown(e.shutdown))
	if err != nil {
		return nil, err
	}
	factory := scraper.NewFactory(metadata.Type, nil,
		scraper.WithLogs(func(context.Context, scraper.Settings, component.Config) (scraper.Logs, error) { return s, nil }, metadata.LogsStability))
	return scraperhelper.NewLogsController(&cfg.ControllerConfig, set, withoutEmpty{next}, scraperhelper.AddFactoryWithConfig(factory, nil))
}
