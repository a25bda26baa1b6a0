// Command cadvisor is the collecting part of cAdvisor with its Prometheus page,
// built to be measured. cAdvisor's own command lies in a module of its own
// (github.com/google/cadvisor/cmd) that the Go module proxy does not have, so
// this one puts the same packages together with the same defaults: flags, most
// of which the packages register; the set of metrics; two minutes of samples in
// memory; derived statistics for each container; all container engines and
// file systems it knows. Left out is what costs nothing or little between two
// scrapes of a quiet host: web pages, REST API, storage drivers, application
// metrics, the watch over the kernel's log.
//
// One page is not cAdvisor's: /samples, see samples.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/google/cadvisor/lib/cache/memory"
	"github.com/google/cadvisor/lib/container"
	"github.com/google/cadvisor/lib/manager"
	"github.com/google/cadvisor/lib/metrics"
	"github.com/google/cadvisor/lib/model"
	"github.com/google/cadvisor/lib/utils/sysfs"
	"github.com/google/cadvisor/summary"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/utils/clock"

	// Each registers a container engine or a file system.
	_ "github.com/google/cadvisor/container/docker/install"
	_ "github.com/google/cadvisor/container/podman/install"
	_ "github.com/google/cadvisor/fs/devicemapper/install"
	_ "github.com/google/cadvisor/lib/container/containerd/install"
	_ "github.com/google/cadvisor/lib/container/crio/install"
	_ "github.com/google/cadvisor/lib/container/systemd/install"
	_ "github.com/google/cadvisor/lib/fs/btrfs/install"
	_ "github.com/google/cadvisor/lib/fs/nfs/install"
	_ "github.com/google/cadvisor/lib/fs/overlay/install"
	_ "github.com/google/cadvisor/lib/fs/tmpfs/install"
	_ "github.com/google/cadvisor/lib/fs/vfs/install"
	_ "github.com/google/cadvisor/lib/fs/zfs/install"
)

// settings are the flags that cAdvisor's command registers itself.
type settings struct {
	listen  string
	keep    time.Duration
	disable container.MetricSet
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "cadvisor:", err)
		os.Exit(1)
	}
}

func run() error {
	s := parseFlags()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	included := container.AllMetrics.Difference(s.disable)
	m, err := newManager(s, included)
	if err != nil {
		return err
	}
	if err := m.Start(); err != nil {
		return fmt.Errorf("start manager: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", page(m, included))
	mux.Handle("/samples", samples(m))
	server := &http.Server{Addr: s.listen, Handler: mux}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return m.Stop()
}

// parseFlags adds cAdvisor's own flags to those of its packages. The metrics
// that are off by default are the ones cAdvisor's command has off.
func parseFlags() settings {
	s := settings{disable: container.MetricSet{}}
	for _, kind := range []container.MetricKind{
		container.MemoryNumaMetrics, container.NetworkTcpUsageMetrics, container.NetworkUdpUsageMetrics,
		container.NetworkAdvancedTcpUsageMetrics, container.ProcessSchedulerMetrics, container.ProcessMetrics,
		container.HugetlbUsageMetrics, container.ReferencedMemoryMetrics, container.CPUTopologyMetrics,
		container.ResctrlMetrics, container.CPUSetMetrics,
	} {
		s.disable[kind] = struct{}{}
	}
	flag.StringVar(&s.listen, "listen", "127.0.0.1:8080", "address of the pages")
	flag.DurationVar(&s.keep, "storage_duration", 2*time.Minute, "how long samples are kept in memory")
	flag.Var(&s.disable, "disable_metrics", "metrics to leave out, comma-separated: "+container.AllMetrics.String())
	flag.Parse()
	return s
}

func newManager(s settings, included container.MetricSet) (manager.Manager, error) {
	manager.SummaryReaderFactory = func(spec model.ContainerSpec) (manager.SummaryReader, error) {
		return summary.New(spec)
	}
	// The two lists of one empty prefix are what cAdvisor makes of flags that
	// are not given.
	m, err := manager.New(memory.New(s.keep, nil), sysfs.NewRealSysFs(), manager.HousekeepingConfigFlags,
		included, []string{""}, []string{""}, "", 0)
	if err != nil {
		return nil, fmt.Errorf("make manager: %w", err)
	}
	return m, nil
}

// page serves the newest sample of every container with cAdvisor's default
// labels, and the machine's and the process's own figures. The registry is made
// for each request because cAdvisor does so.
func page(m manager.Manager, included container.MetricSet) http.Handler {
	options := model.RequestOptions{IdType: model.TypeName, Count: 1, Recursive: true}
	shared := []prometheus.Collector{
		metrics.NewPrometheusMachineCollector(m, included),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		registry := prometheus.NewRegistry()
		registry.MustRegister(metrics.NewPrometheusCollector(m, metrics.DefaultContainerLabels, included, clock.RealClock{}, options))
		registry.MustRegister(shared...)
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}).ServeHTTP(w, r)
	})
}
