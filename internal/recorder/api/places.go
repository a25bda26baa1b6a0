package api

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// boundedListener accepts while there are free places. The others wait in the
// kernel's queue. Who has its share of them already is turned away.
type boundedListener struct {
	net.Listener
	places chan struct{}
	share  int
	denied *atomic.Uint64
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex // guards held
	held map[netip.Prefix]int
}

func newBoundedListener(l net.Listener, places int, denied *atomic.Uint64) *boundedListener {
	return &boundedListener{
		Listener: l, places: make(chan struct{}, places), share: max(1, places/4), denied: denied,
		closed: make(chan struct{}), held: map[netip.Prefix]int{},
	}
}

// Accept waits for a place, then for a connection.
func (b *boundedListener) Accept() (net.Conn, error) {
	select {
	case b.places <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			<-b.places
			return nil, err
		}
		who := party(conn.RemoteAddr())
		if b.take(who) {
			return &boundedConn{Conn: conn, free: func() { b.free(who) }}, nil
		}
		b.denied.Add(1)
		_ = conn.Close()
	}
}

// Close ends a waiting Accept, too.
func (b *boundedListener) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

// party is who shares: an address, or the 64 bits of IPv6 that one network has. It is
// the zero Prefix for this host, whose users are not told apart by it.
func party(address net.Addr) netip.Prefix {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if ip.IsLoopback() {
		return netip.Prefix{}
	}
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	prefix, err := ip.Prefix(bits)
	if err != nil { // both are in range
		return netip.Prefix{}
	}
	return prefix
}

func (b *boundedListener) take(who netip.Prefix) bool {
	if !who.IsValid() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[who] >= b.share {
		return false
	}
	b.held[who]++
	return true
}

func (b *boundedListener) free(who netip.Prefix) {
	<-b.places
	if !who.IsValid() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[who]--; b.held[who] == 0 {
		delete(b.held, who)
	}
}

type boundedConn struct {
	net.Conn
	free func()
	once sync.Once
}

// Close frees the place.
func (c *boundedConn) Close() error {
	defer c.once.Do(c.free)
	return c.Conn.Close()
}
