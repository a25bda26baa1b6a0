package flightrecorderextension

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/recorder"
	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/keeper"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

var (
	_ recorder.Sink      = (*recorderExtension)(nil)
	_ recorder.Announcer = (*recorderExtension)(nil)
)

// noStack is above all levels: what the recorder logs as an error is one of the host,
// and where in our code it was met tells nobody anything.
const noStack = slog.LevelError + 100

// recorderExtension is the extension. Start and Shutdown are called once, by the
// Collector; the methods of the keeper by other components in between.
type recorderExtension struct {
	cfg *Config
	set extension.Settings
	*keeper.Keeper

	view    *hostview.View // nil where there are no cgroups
	engine  *docker.Client // nil where nobody may be asked
	health  *health
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// Start opens the folder and serves it.
func (e *recorderExtension) Start(ctx context.Context, host component.Host) error {
	if err := e.start(ctx, host); err != nil {
		// The Collector's last words do not say which extension it was.
		return errors.Join(fmt.Errorf("%s: %w", e.set.ID, err), e.Shutdown(ctx))
	}
	return nil
}

func (e *recorderExtension) start(ctx context.Context, host component.Host) error {
	view, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots(e.cfg.RootPath)})
	switch {
	case err == nil:
		e.view = view
	case errors.Is(err, hostfs.ErrNotSupported): // the keeper says what that means
	default:
		return fmt.Errorf("root_path: %w", err)
	}
	if err := e.findEngine(host); err != nil {
		return fmt.Errorf("docker.endpoint: %w", err)
	}
	token, made, err := e.token()
	if err != nil {
		return err
	}
	o, err := e.options(ctx, token)
	if err != nil {
		return err
	}
	var recovery keeper.Recovery
	if e.Keeper, recovery, err = keeper.Open(o); err != nil {
		return fmt.Errorf("%s: %w", fieldOf(err), err)
	}
	for _, text := range recovery.Texts() {
		e.set.Logger.Info("the last run left something to mend", zap.String("found", text))
	}
	if e.health, err = newHealth(e.set, e.Keeper); err != nil {
		return err
	}
	if err := e.Keeper.Start(ctx); err != nil {
		return fmt.Errorf("%s: %w", fieldOf(err), err)
	}
	e.followSignals()
	e.logWarnings()
	e.set.Logger.Info("recording", zap.String("directory", e.cfg.Directory), zap.Duration("retention", e.cfg.Retention),
		zap.Int64("max_size_mib", e.cfg.MaxSizeMiB), zap.String("address", strings.Join(e.Addresses(), ", ")))
	e.logToken(made)
	return nil
}

// logWarnings says what works and should not stay so. An agent with a token file is one
// in a container, most often: its interface is never loopback, and how far what it sends
// in clear goes is for who publishes the port to decide. So that is said, and is none.
func (e *recorderExtension) logWarnings() {
	say := e.set.Logger.Warn
	if e.cfg.TokenFile != "" {
		say = e.set.Logger.Info
	}
	for _, warning := range e.Warnings() {
		say(warning)
	}
}

// fieldOf names the key that the user may change.
func fieldOf(err error) string {
	var endpoint *api.EndpointError
	switch {
	case errors.Is(err, metricstore.ErrBudget):
		return "max_size_mib"
	case errors.As(err, &endpoint) && strings.HasPrefix(endpoint.Endpoint, "unix://"):
		return "unix_socket.path"
	case errors.As(err, &endpoint):
		return "endpoint"
	}
	return "directory"
}

// findEngine takes the filtered socket of this process, or what was configured: the
// engine's own is left alone.
func (e *recorderExtension) findEngine(host component.Host) (err error) {
	place := docker.Find(e.cfg.Docker.Endpoint, maps.Values(host.GetExtensions()), "")
	if place.Endpoint == "" {
		return nil
	}
	e.engine, err = docker.NewClient(docker.ClientOptions{Endpoint: place.Endpoint})
	return err
}

func (e *recorderExtension) options(ctx context.Context, token string) (keeper.Options, error) {
	mode, err := parseMode(e.cfg.Socket.Mode)
	if err != nil {
		return keeper.Options{}, fmt.Errorf("unix_socket.mode: %w", err)
	}
	o := keeper.Options{
		Dir: e.cfg.Directory, MaxBytes: e.cfg.MaxSizeMiB << 20, Retention: e.cfg.Retention,
		EntityRetention: e.cfg.ContainerRetention, SeriesPerContainer: e.cfg.SeriesPerContainer,
		Captures: e.cfg.Captures.Keep, EnvNames: e.cfg.Captures.Environment, Off: e.cfg.Triggers.off(),
		Host: hostName(e.cfg.RootPath), Version: e.set.BuildInfo.Version, Roots: hostfs.NewRoots(e.cfg.RootPath),
		API: api.Options{Token: token, SocketMode: mode, AllowedHosts: e.cfg.AllowedHosts},
		Log: slog.New(zapslog.NewHandler(e.set.Logger.Core(), zapslog.AddStacktraceAt(noStack))),
	}
	if e.cfg.Endpoint != "" {
		o.API.Endpoints = append(o.API.Endpoints, e.cfg.Endpoint)
	}
	if e.cfg.Socket.Path != "" {
		o.API.Endpoints = append(o.API.Endpoints, "unix://"+e.cfg.Socket.Path)
	}
	if e.view != nil {
		o.Place = e.place
	}
	if e.engine != nil {
		o.Inspect = capture.Inspector(e.engine)
	}
	if e.cfg.TLS != nil {
		if o.API.TLS, err = e.cfg.TLS.LoadTLSConfig(ctx); err != nil {
			return o, fmt.Errorf("tls: %w", err)
		}
	}
	return o, nil
}

// place tells the cgroup of a container, also of one that has just ended.
func (e *recorderExtension) place(id string) (cgroupPath string, ok bool) {
	c, ok := e.view.Index().ByID(id)
	if !ok {
		return "", false
	}
	return c.Path, true
}

// followSignals makes a capture of the host for each SIGUSR1.
func (e *recorderExtension) followSignals() {
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	e.running.Go(func() {
		defer signal.Stop(signals)
		for {
			select {
			case <-signals:
				if _, err := e.Capture(ctx, "SIGUSR1"); err != nil {
					e.set.Logger.Warn("no capture for the signal", zap.Error(err))
				}
			case <-ctx.Done():
				return
			}
		}
	})
}

// Shutdown writes what is in memory and ends. It is safe without Start and twice.
func (e *recorderExtension) Shutdown(context.Context) error {
	if e.cancel != nil {
		e.cancel()
		e.running.Wait()
		e.cancel = nil
	}
	e.health.stop()
	e.health = nil
	var err error
	if e.Keeper != nil {
		err = e.Keeper.Close()
		e.Keeper = nil
	}
	if e.engine != nil {
		e.engine.Close()
		e.engine = nil
	}
	if e.view != nil {
		e.view.Release()
		e.view = nil
	}
	return err
}
