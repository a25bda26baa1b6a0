package dockerfilterextension

import (
	"net"
	"net/http"
	"sync"
)

const (
	// maxConnections bounds all clients together, maxOfClient each: whoever may
	// open the socket could otherwise take all descriptors of the Collector.
	// `docker stats` opens one for each container.
	maxConnections = 1024
	maxOfClient    = 512
)

// connections counts the open ones.
type connections struct {
	mu    sync.Mutex // guards what follows
	open  int
	keys  map[net.Conn]string
	byKey map[string]int
}

func newConnections() *connections {
	return &connections{keys: map[net.Conn]string{}, byKey: map[string]int{}}
}

// admit makes room for one more, or reports that there is none.
func (c *connections) admit() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= maxConnections {
		return false
	}
	c.open++
	return true
}

// add puts an open one down to a client, and reports whether it may have so many.
func (c *connections) add(conn net.Conn, key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys[conn] = key
	c.byKey[key]++
	return c.byKey[key] <= maxOfClient
}

// changed is net/http's word about a connection.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	key, ok := c.keys[conn]
	if !ok {
		return
	}
	delete(c.keys, conn)
	if c.byKey[key]--; c.byKey[key] == 0 {
		delete(c.byKey, key)
	}
}
