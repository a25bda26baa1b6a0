package api

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
)

// Options say what is served, where and to whom. A source that is nil answers 404.
type Options struct {
	// Endpoints are host:port, or unix:// and an absolute path.
	Endpoints []string
	// SocketMode are the permissions of Unix sockets; 0 means 0660. They are what
	// guards them: neither token nor certificate is asked for.
	SocketMode fs.FileMode
	// Token is asked for on TCP if it is not empty: at least 16 characters.
	Token string
	// TLS is for TCP. A configuration that requires and verifies client certificates
	// counts as authentication.
	TLS *tls.Config
	// AllowedHosts are further names by which browsers may reach us, without port.
	// localhost and IP addresses always may.
	AllowedHosts []string

	Engine    promql.QueryEngine
	Queryable storage.Queryable
	Metadata  Metadata
	Live      Live
	Entities  Entities
	Events    Events
	Captures  Captures
	Agent     Agent
	// State are the state files of an opened capture. No link in it may lead out of
	// it: an os.Root has such a one, os.DirFS has not.
	State fs.FS
	// Web answers everything that is not below /api/.
	Web http.Handler

	// Opened is the capture that is served: nothing can be changed, and the clock
	// stands at its To.
	Opened *Capture

	Limits Limits
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log gets one line per broken listener or handler; nil is silence.
	Log *slog.Logger
}

// Limits bound what clients can cost. Zero members get the defaults.
type Limits struct {
	// Queries run at the same time (4: a panel of Grafana each, on two cores), and
	// Waiting for their turn (64: a large dashboard).
	Queries, Waiting int
	// QueryTime is how long one may take, waiting included (30 s, as Grafana waits).
	QueryTime time.Duration
	// Results is how many names, values or series one answer has (100,000, which is
	// eight times the series of 200 containers).
	Results int
	// Events is how many one answer has (10,000), EventBytes their size (16 MiB), which
	// also bounds a list of containers.
	Events, EventBytes int
	// LiveClients are served at the same time (32); LiveBehind is how many messages
	// one may be late (8, that is 8 s); LiveEvery is the time between messages (1 s).
	LiveClients, LiveBehind int
	LiveEvery               time.Duration
	// Connections are open at the same time on each listener (256: browsers open six
	// each). An address beyond the host may have a quarter of them, so that nobody
	// has all.
	Connections int
	// HeaderBytes (32 KiB, half of what Go's own client would send) and BodyBytes
	// (1 MiB, far above the longest expression) of a request.
	HeaderBytes, BodyBytes int
	// Stall is how long a client may take to read 64 KiB, and to send a request's
	// body (30 s: 2 KB/s, slower than any usable line). Its head may take 10 s of it.
	Stall time.Duration
}

// minToken makes guessing hopeless without counting the attempts: 16 characters of
// base64 are 96 bits.
const minToken = 16

// defaultSocketMode lets the group in, as other local daemons do.
const defaultSocketMode fs.FileMode = 0o660

func (o Options) withDefaults() Options {
	if o.SocketMode == 0 {
		o.SocketMode = defaultSocketMode
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Opened != nil {
		opened := *o.Opened
		o.Opened, o.Now = &opened, func() time.Time { return opened.To.Time }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Limits = o.Limits.withDefaults()
	return o
}

func (l Limits) withDefaults() Limits {
	orInt := func(n *int, otherwise int) {
		if *n <= 0 {
			*n = otherwise
		}
	}
	orTime := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	orInt(&l.Queries, 4)
	orInt(&l.Waiting, 64)
	orTime(&l.QueryTime, 30*time.Second)
	orInt(&l.Results, 100_000)
	orInt(&l.Events, 10_000)
	orInt(&l.EventBytes, 16<<20)
	orInt(&l.LiveClients, 32)
	orInt(&l.LiveBehind, 8)
	orTime(&l.LiveEvery, time.Second)
	orInt(&l.Connections, 256)
	orInt(&l.HeaderBytes, 32<<10)
	orInt(&l.BodyBytes, 1<<20)
	orTime(&l.Stall, 30*time.Second)
	return l
}

// Validate checks what does not depend on the host. New does it, too.
func (o Options) Validate() error {
	if len(o.Endpoints) == 0 {
		return errors.New("serve the recorder: no endpoint")
	}
	if (o.Engine == nil) != (o.Queryable == nil) {
		return errors.New("serve the recorder: an engine needs a queryable, and the other way round")
	}
	if o.Token != "" && len(o.Token) < minToken {
		return fmt.Errorf("serve the recorder: the token has %d characters, %d are the least (openssl rand -base64 24)", len(o.Token), minToken)
	}
	if strings.ContainsFunc(o.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("serve the recorder: the token has characters that a header cannot carry")
	}
	if o.TLS != nil && len(o.TLS.Certificates) == 0 && o.TLS.GetCertificate == nil && o.TLS.GetConfigForClient == nil {
		return errors.New("serve the recorder: TLS without a certificate")
	}
	for _, name := range o.AllowedHosts {
		if strings.ContainsAny(name, "/*@ ") || hostName(name) == "" {
			return fmt.Errorf("serve the recorder: %q is no name of a host", name)
		}
	}
	if o.SocketMode&^fs.ModePerm != 0 {
		return fmt.Errorf("serve the recorder: %v are no permissions of a socket", o.SocketMode)
	}
	return nil
}

// mutual tells whether clients prove who they are by a certificate.
func mutual(config *tls.Config) bool {
	return config != nil && config.ClientAuth == tls.RequireAndVerifyClientCert && config.ClientCAs != nil
}
