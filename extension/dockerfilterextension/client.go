package dockerfilterextension

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/policy"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/request"
)

// connection is what is known of one client connection.
type connection struct {
	gate     *request.Gate
	identity policy.Identity
	// surplus: its client has too many connections already.
	surplus bool

	mu     sync.Mutex // guards client
	client *policy.Client
}

type connectionKey struct{}

// connected identifies the client, once per connection: whoever a descriptor is
// passed on to has the rights of who connected.
func (f *filter) connected(ctx context.Context, conn net.Conn) context.Context {
	gate, ok := conn.(*request.Gate)
	if !ok {
		return ctx // and handle refuses
	}
	c := &connection{gate: gate}
	if unix, ok := gate.NetConn().(*net.UnixConn); ok {
		c.identity = f.identifier.Identify(unix)
	}
	c.surplus = !f.connections.add(conn, c.identity.Key())
	return context.WithValue(ctx, connectionKey{}, c)
}

// settle returns the client, asking the policy again while its container is so
// new that the engine has not told of it.
func (c *connection) settle(p *policy.Policy) *policy.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil || !c.client.Settled() {
		c.client = p.Client(c.identity)
	}
	return c.client
}

// directory is the engine's catalog as the policy wants it. It remembers for a
// while whom it was asked about: the last events of a container come when the
// engine no longer has it.
type directory struct {
	catalog *engine.Catalog

	mu     sync.Mutex // guards recent
	recent map[string]remembered
}

type remembered struct {
	container policy.Container
	at        time.Time
}

const (
	// lookWithin bounds a question to the catalog, which is answered from memory
	// unless the container is very new or the engine is away.
	lookWithin = 2 * time.Second
	// rememberFor is how long; recentMax bounds how many (about 1 KiB each).
	rememberFor = time.Minute
	recentMax   = 4096
)

func newDirectory(catalog *engine.Catalog) *directory {
	return &directory{catalog: catalog, recent: map[string]remembered{}}
}

// Get implements [policy.Catalog].
func (d *directory) Get(id string) (policy.Container, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), lookWithin)
	defer cancel()
	c, err := d.catalog.Get(ctx, id)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		known, ok := d.recent[id]
		return known.container, ok && engine.NotFound(err) && time.Since(known.at) < rememberFor
	}
	found := policyContainer(c)
	if _, known := d.recent[id]; !known && len(d.recent) >= recentMax {
		clear(d.recent) // whoever still counts is asked about again
	}
	d.recent[id] = remembered{found, time.Now()}
	return found, true
}

func policyContainer(c engine.Container) policy.Container {
	return policy.Container{ID: c.ID, Name: c.Name, Image: c.Image, Labels: c.Labels}
}
