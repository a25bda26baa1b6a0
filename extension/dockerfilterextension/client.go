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

// directory is the engine's catalog as the policy wants it.
type directory struct{ catalog *engine.Catalog }

// lookWithin bounds a question to the catalog, which is answered from memory
// unless the container is very new or the engine is away.
const lookWithin = 2 * time.Second

// Get implements [policy.Catalog].
func (d directory) Get(id string) (policy.Container, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), lookWithin)
	defer cancel()
	c, err := d.catalog.Get(ctx, id)
	if err != nil {
		return policy.Container{}, false
	}
	return policy.Container{ID: c.ID, Name: c.Name, Image: c.Image, Labels: c.Labels}, true
}
