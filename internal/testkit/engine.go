package testkit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// ErrNoEngine says that no Docker engine answers on this host.
var ErrNoEngine = errors.New("no docker engine answers")

// pingWithin is for a socket on this host: it answers in milliseconds or is
// not served at all.
const pingWithin = 5 * time.Second

// Engine is a running Docker engine on this host. Its methods are safe for
// concurrent use. It keeps no connection open between calls, so that it does
// not look like a leak.
type Engine struct {
	socket string
	api    *client.Client
	daemon *daemon // nil when somebody else runs the engine
}

// Docker returns the engine of this host (DOCKER_HOST if that is a Unix
// socket, else /var/run/docker.sock). Where none answers, as root, it starts a
// private one that all test processes of the machine share, and that ends by
// itself some seconds after its last user process. So there may be containers
// of other tests: look only at those you started.
func Docker(t testing.TB) *Engine {
	t.Helper()
	ctx := t.Context()
	engine, err := FindEngine(ctx)
	if err == nil {
		return engine
	}
	if !errors.Is(err, ErrNoEngine) {
		t.Fatal(err)
	}
	NeedRoot(t)
	NeedCommand(t, "dockerd", "ip", "flock")
	engine, release, err := sharedEngine(ctx, t.Logf)
	if err != nil {
		t.Fatalf("start a private docker engine: %v", err)
	}
	t.Cleanup(release)
	return engine
}

// FindEngine returns the engine that already runs on this host. The error is
// ErrNoEngine when there is none.
func FindEngine(ctx context.Context) (*Engine, error) {
	host := os.Getenv(client.EnvOverrideHost)
	if host == "" {
		host = "unix:///var/run/docker.sock"
	}
	socket, ok := strings.CutPrefix(host, "unix://")
	if !ok {
		// Process ids and cgroups of a distant engine are not those of this host.
		return nil, fmt.Errorf("use DOCKER_HOST %q: %w (only unix:// is this host)", host, ErrNoEngine)
	}
	return dialEngine(ctx, socket)
}

// StartEngine starts a Docker engine that shares nothing with another one but
// the kernel: state and log below dir, a bridge and a containerd of its own. If
// one still runs for dir it is adopted. It needs root, dockerd, and iproute2;
// logf is told what this host made it do without: while another engine runs,
// that is iptables, because engines share the names of their chains. Containers
// then reach each other and published ports, but not the world outside.
func StartEngine(ctx context.Context, dir string, logf func(string, ...any)) (*Engine, error) {
	d, err := newDaemon(dir)
	if err != nil {
		return nil, err
	}
	return d.engine(ctx, logf)
}

// StartRouter is StartEngine for tests of published ports: the engine has
// iptables, which only one at a time can, so it waits some time for another one
// to end. The flags are dockerd's, such as --userland-proxy=false. Do not use it
// beside tests that use [Docker], which then makes do without iptables.
func StartRouter(ctx context.Context, dir string, logf func(string, ...any), flags ...string) (*Engine, error) {
	d, err := newDaemon(dir)
	if err != nil {
		return nil, err
	}
	d.routes, d.flags = true, flags
	return d.engine(ctx, logf)
}

// engine starts the daemon, if need be, and returns what serves its API.
func (d *daemon) engine(ctx context.Context, logf func(string, ...any)) (*Engine, error) {
	if err := d.start(ctx, logf); err != nil {
		return nil, err
	}
	engine, err := dialEngine(ctx, d.socket())
	if err != nil {
		return nil, errors.Join(err, d.stop())
	}
	engine.daemon = d
	return engine, nil
}

func dialEngine(ctx context.Context, socket string) (*Engine, error) {
	api, err := client.New(
		client.WithHTTPClient(&http.Client{
			Transport:     &http.Transport{DisableKeepAlives: true},
			CheckRedirect: client.CheckRedirect,
		}),
		client.WithHost("unix://"+socket),
		// A cloned transport has a TLS configuration; the client takes that for
		// the wish to use it.
		client.WithScheme("http"),
		client.WithAPIVersionFromEnv(),
	)
	if err != nil {
		return nil, fmt.Errorf("make a docker client for %s: %w", socket, err)
	}
	ctx, cancel := context.WithTimeout(ctx, pingWithin)
	defer cancel()
	if _, err := api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return nil, fmt.Errorf("ping %s: %w: %w", socket, ErrNoEngine, err)
	}
	return &Engine{socket: socket, api: api}, nil
}

// Socket is the path of the engine's Unix socket.
func (e *Engine) Socket() string { return e.socket }

// Host is the engine's address as DOCKER_HOST takes it.
func (e *Engine) Host() string { return "unix://" + e.socket }

// Client is the engine's API for what this package does not offer. It must
// not be closed.
func (e *Engine) Client() *client.Client { return e.api }

// Private tells whether StartEngine started (or adopted) this engine.
func (e *Engine) Private() bool { return e.daemon != nil }

// Bridge is the network interface of a private engine's default network; "" of
// another engine, whose name is not known.
func (e *Engine) Bridge() string {
	if e.daemon == nil {
		return ""
	}
	return e.daemon.bridge
}

// Stop kills the containers of a private engine, ends it, and takes back what
// it did to the host's network. What lies in its directory stays: StartEngine
// goes on from there, with the killed containers. On an engine that was here
// before, it does nothing. Stop may be called twice.
func (e *Engine) Stop() error {
	if e.daemon == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	// Killed first, because the engine would ask each shell that ignores
	// SIGTERM as process 1 and wait for it.
	list, err := e.api.ContainerList(ctx, client.ContainerListOptions{})
	if err == nil {
		for _, c := range list.Items {
			_, _ = e.api.ContainerKill(ctx, c.ID, client.ContainerKillOptions{})
		}
	}
	return e.daemon.stop()
}
