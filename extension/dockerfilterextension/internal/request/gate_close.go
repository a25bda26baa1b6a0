package request

import (
	"errors"
	"time"
)

// A client that is refused may still be sending its request. If the connection
// ended at once, its write would break and it would report that instead of our
// answer. So the connection takes some of what comes: the bodies of create
// calls have a few KiB, and 1 MiB passes in milliseconds.
const (
	maxIgnored   = 1 << 20
	lingerAtMost = 500 * time.Millisecond // what net/http allows in the same place
)

var errIgnoredTooMuch = errors.New("too much after the last request")

// ignore throws away one piece of what comes after the last request.
func (g *Gate) ignore() error {
	var piece [4 << 10]byte
	n, err := g.Conn.Read(piece[:])
	g.ignored += n
	if err == nil && g.ignored > maxIgnored {
		err = errIgnoredTooMuch
	}
	return err
}

// Close ends the connection. After a refusal it first tells the client that
// nothing more comes, and takes what is under way for up to half a second.
func (g *Gate) Close() error {
	if g.lingers.Swap(false) {
		g.linger()
	}
	return g.Conn.Close()
}

func (g *Gate) linger() {
	half, ok := g.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	if g.Conn.SetReadDeadline(time.Now().Add(lingerAtMost)) != nil {
		return
	}
	var piece [4 << 10]byte
	for taken := 0; taken <= maxIgnored; {
		n, err := g.Conn.Read(piece[:])
		if err != nil {
			return
		}
		taken += n
	}
}

// SetDeadline sets the deadlines of reads and writes.
func (g *Gate) SetDeadline(t time.Time) error {
	return errors.Join(g.SetReadDeadline(t), g.Conn.SetWriteDeadline(t))
}

// SetReadDeadline sets the server's deadline; that of a head that has begun
// stays.
func (g *Gate) SetReadDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.outer = t
	return g.setReadDeadline()
}

// arm starts the clock of a head that has begun, once.
func (g *Gate) arm() {
	if g.headTimeout <= 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.inner.IsZero() {
		return
	}
	g.inner = time.Now().Add(g.headTimeout)
	g.setReadDeadline() // what is wrong with it the next read says too
}

func (g *Gate) disarm() {
	if g.headTimeout <= 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inner.IsZero() {
		return
	}
	g.inner = time.Time{}
	g.setReadDeadline()
}

// setReadDeadline sets the earlier of both deadlines. The caller holds g.mu.
func (g *Gate) setReadDeadline() error {
	deadline := g.outer
	if deadline.IsZero() || !g.inner.IsZero() && g.inner.Before(deadline) {
		deadline = g.inner
	}
	return g.Conn.SetReadDeadline(deadline)
}
