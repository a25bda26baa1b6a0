package agent

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
)

// flags gives the agent free ports, and the settings of the options.
func (a *Agent) flags(o Options) ([]string, error) {
	config, err := filepath.Abs(o.Config)
	if err != nil {
		return nil, fmt.Errorf("find the configuration: %w", err)
	}
	ports, err := freePorts(6)
	if err != nil {
		return nil, err
	}
	a.Page, a.health, a.Own = "http://"+ports[0]+"/metrics", "http://"+ports[1]+"/", "http://"+ports[5]+"/metrics"
	host, port, _ := strings.Cut(ports[5], ":")
	set := []string{
		"exporters::prometheus::endpoint: " + ports[0],
		"extensions::health_check::endpoint: " + ports[1],
		"receivers::otlp::protocols::grpc::endpoint: " + ports[2],
		"receivers::otlp::protocols::http::endpoint: " + ports[3],
		"extensions::flight_recorder::endpoint: " + ports[4],
		"service::telemetry::metrics::readers: [{pull: {exporter: {prometheus: {host: " + host + ", port: " + port + "}}}}]",
		"receivers::prometheus/agent::config::scrape_configs: " +
			"[{job_name: tallyman, scrape_interval: 10s, static_configs: [{targets: [" + fmt.Sprintf("%q", ports[5]) + "]}]}]",
	}
	flags := []string{"--config", config}
	for _, setting := range append(set, o.Set...) {
		flags = append(flags, "--config", "yaml:"+setting)
	}
	return flags, nil
}

// freePorts returns addresses on which nobody listens.
func freePorts(n int) ([]string, error) {
	var listeners []net.Listener
	var addresses []string
	var errs []error
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			errs = append(errs, fmt.Errorf("find a free port: %w", err))
			break
		}
		listeners = append(listeners, l)
		addresses = append(addresses, l.Addr().String())
	}
	for _, l := range listeners { // after the last one is chosen
		errs = append(errs, l.Close())
	}
	return addresses, errors.Join(errs...)
}
