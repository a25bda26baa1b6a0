package engine

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// dialWithin is for a distant engine and its TLS handshake; a socket of this
	// host answers at once or not at all.
	dialWithin = 5 * time.Second
	// idleFor keeps connections between the scrapes of several clients, without
	// keeping them for ever. It is no multiple of the usual intervals.
	idleFor = 45 * time.Second
)

// dialer opens connections and watches them. It tells apart one life of the
// engine from the next: its era is over when a connection was ended by the
// other side, when none can be opened, or when none is left that could show it.
type dialer struct {
	network, address string
	net              net.Dialer

	mu     sync.Mutex // guards what follows
	open   map[*conn]struct{}
	era    uint64
	closed bool
}

func newDialer(network, address string) *dialer {
	return &dialer{
		network: network, address: address,
		net: net.Dialer{
			Timeout: dialWithin,
			// A distant host that vanished ends a stream within half a minute.
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
		},
		open: map[*conn]struct{}{},
	}
}

// dial opens a connection by path or name, as it is meant now.
func (d *dialer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	inner, err := d.net.DialContext(ctx, d.network, d.address)
	if err != nil {
		d.endEra()
		return nil, err
	}
	c := &conn{Conn: inner, dialer: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = inner.Close()
		return nil, fmt.Errorf("dial %s: %w", d.address, ErrClosed)
	}
	d.open[c] = struct{}{}
	return c, nil
}

func (d *dialer) currentEra() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.era
}

func (d *dialer) endEra() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.era++
}

// close ends all connections, and those that are being opened.
func (d *dialer) close() {
	d.mu.Lock()
	d.closed = true
	var list []*conn
	for c := range d.open {
		list = append(list, c)
	}
	d.mu.Unlock()
	for _, c := range list {
		_ = c.Close()
	}
}

// forget takes a connection off the list. It reports whether it was on it.
func (d *dialer) forget(c *conn, broken bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.open[c]; !ok {
		return
	}
	delete(d.open, c)
	if broken || len(d.open) == 0 {
		d.era++
	}
}

// conn is a connection to the engine that notices who ended it.
type conn struct {
	net.Conn
	dialer *dialer
}

// Read is the connection's; an error before our own Close is the engine's doing.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.dialer.forget(c, true)
	}
	return n, err
}

// Close ends the connection.
func (c *conn) Close() error {
	c.dialer.forget(c, false)
	return c.Conn.Close()
}
