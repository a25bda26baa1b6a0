package dockerfilterextension

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// haproxyConfig lets pass by path and method what the filter's profile
// monitoring has, as people do it who have no filter.
const haproxyConfig = `
global
    maxconn 256
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend safe
    bind unix@%s mode 666
    acl reads method GET HEAD
    acl known path_reg ^(/v1\.[0-9]+)?/(_ping|version|info|events|containers/json|containers/[a-zA-Z0-9_.-]+/(json|stats)|images/json|networks|volumes)$
    http-request deny unless reads known
    default_backend engine
backend engine
    server docker unix@%s
`

// startHAProxy puts one in front of the engine.
func startHAProxy(b *testing.B, engine string) (socket string) {
	b.Helper()
	testkit.NeedCommand(b, "haproxy")
	dir := openDir(b)
	socket = filepath.Join(dir, "haproxy.sock")
	config := filepath.Join(dir, "haproxy.cfg")
	require.NoError(b, os.WriteFile(config, fmt.Appendf(nil, haproxyConfig, socket, engine), 0o600))
	cmd := exec.Command("haproxy", "-f", config, "-db", "-q")
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	testkit.Eventually(b, patience, func() error {
		_, err := os.Stat(socket)
		return err
	})
	return socket
}

// BenchmarkClients compares asking the engine directly, through the filter and
// through HAProxy: one client and sixteen, each on one connection. The time is
// that of one request; the percentiles are in microseconds. Of "same" inspects the
// filter's come from an answer that is at most 100 ms old; "each" asks for
// another container, or the same one in another way, each time.
func BenchmarkClients(b *testing.B) {
	e := testkit.Docker(b)
	c, err := e.StartContainer(b.Context(), testkit.ContainerSpec{NetworkMode: "none"})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, c.Remove(context.Background())) })
	each := prefixes(addContainers(b, e, 200))
	r := start(b, e.Host(), func(cfg *Config) { cfg.Limits.RPS, cfg.Limits.Burst = 1e6, 1e6 })
	sockets := []struct{ name, path string }{
		{"direct", e.Socket()}, {"filter", r.socket}, {"haproxy", startHAProxy(b, e.Socket())},
	}
	for _, what := range []struct {
		name  string
		paths []string
	}{
		{"inspect-each", each},
		{"inspect-same", []string{"/containers/" + c.ID + "/json"}},
		{"list200", []string{"/containers/json?all=1"}},
	} {
		for _, clients := range []int{1, 16} {
			for _, socket := range sockets {
				b.Run(fmt.Sprintf("%s/%d/%s", what.name, clients, socket.name), func(b *testing.B) {
					measure(b, socket.path, what.paths, clients)
				})
			}
		}
	}
}

// addContainers makes containers that do not run: they are in the list all the
// same.
func addContainers(b *testing.B, e *testkit.Engine, n int) (ids []string) {
	b.Helper()
	image, err := e.BusyboxImage(b.Context())
	require.NoError(b, err)
	for i := range n {
		made, err := e.Client().ContainerCreate(b.Context(), client.ContainerCreateOptions{Config: &container.Config{
			Image: image, Cmd: []string{"sleep", "1000"}, Env: []string{"A=b", "SECRET=x"},
			Labels: map[string]string{"com.docker.compose.project": "bench", "com.docker.compose.service": fmt.Sprint("s", i), "token": "x"},
		}})
		require.NoError(b, err)
		ids = append(ids, made.ID)
		b.Cleanup(func() {
			_, err := e.Client().ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true})
			require.NoError(b, err)
		})
	}
	return ids
}

// prefixes names each container in as many ways as there are lengths of its id,
// so that it takes seconds until the same is asked for again.
func prefixes(ids []string) (paths []string) {
	for length := 64; length > 24; length-- {
		for _, id := range ids {
			paths = append(paths, "/containers/"+id[:length]+"/json")
		}
	}
	return paths
}

func measure(b *testing.B, socket string, paths []string, clients int) {
	b.Helper()
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	b.ResetTimer()
	for i := range clients {
		share := b.N / clients
		if i < b.N%clients {
			share++
		}
		all.Go(func() {
			from := i * len(paths) / clients
			own := ask(b, socket, slices.Concat(paths[from:], paths[:from]), share)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
		})
	}
	all.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// ask asks n times on one connection.
func ask(b *testing.B, socket string, paths []string, n int) []time.Duration {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	asking := http.Client{Transport: transport}
	took := make([]time.Duration, 0, n)
	for i := range n {
		path := paths[i%len(paths)]
		begin := time.Now()
		response, err := asking.Get("http://docker" + path)
		if err != nil {
			b.Error(err)
			return took
		}
		size, err := io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || size < 100 {
			b.Errorf("%s: %d, %d bytes, %v", path, response.StatusCode, size, err)
			return took
		}
		took = append(took, time.Since(begin))
	}
	return took
}
