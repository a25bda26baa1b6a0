package engine

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	// defaultConcurrency is what two cores of dockerd 20.10 gain from: its list
	// is bound by the processor, and inspect waits for nothing but locks.
	defaultConcurrency = 16
	// queuePerSlot times the concurrency may wait. A list of 57 containers takes
	// 2.2 ms, so that the last of 64 waits about 10 ms.
	queuePerSlot = 4
	// defaultStreams is eight clients with the 57 streams that `docker stats`
	// opened for 57 containers. Each costs about 25 KiB here, thus 13 MiB.
	defaultStreams = 512
	// defaultTimeout is for the slowest whole answer: system/df of a host with
	// many images takes tens of seconds.
	defaultTimeout = time.Minute
	// defaultMaxAPI is the newest API whose answers the projection was tested with.
	defaultMaxAPI = "1.56"
	// maxSocketPath is sun_path of unix(7) without the final zero.
	maxSocketPath = 107
)

var errOption = errors.New("invalid option")

// Options say which engine to ask and how hard.
type Options struct {
	// Upstream is unix:///path/of/socket or tcp://host:port. The latter needs TLS.
	Upstream string
	// TLS is for tcp only.
	TLS TLSOptions
	// Concurrency bounds the requests that the engine works on at the same
	// time, streams not counted. 0 means 16.
	Concurrency int
	// Queue bounds those that wait for their turn. 0 means four times Concurrency.
	Queue int
	// Streams bounds the requests of [Request.Stream] that last at the same time.
	// 0 means 512.
	Streams int
	// Timeout is for a whole answer, of a stream for its head. 0 means one minute.
	Timeout time.Duration
	// MaxAPI is the newest version to be asked for, such as "1.44". "" means 1.56.
	MaxAPI string
	// UserAgent is sent where a request brings none.
	UserAgent string
	// Observe is told of each request that went to the engine: its [Request.Op],
	// the time until the head of the answer, and what Do returns. It must not
	// block; it is called from many goroutines. May be nil.
	Observe func(op string, d time.Duration, err error)
}

// TLSOptions are the files for tcp. All three are needed: the engine's API
// without a client certificate is root for everybody.
type TLSOptions struct {
	// CAFile has the certificates that may have signed the engine's (PEM).
	CAFile string
	// CertFile and KeyFile are our certificate (PEM). They are read for each
	// connection, so that they can be renewed in place.
	CertFile, KeyFile string
	// ServerName is expected in the engine's certificate. "" means the host of
	// Upstream.
	ServerName string
}

// Validate checks the values without looking at files. Errors begin with the
// name of the setting as users write it.
func (o Options) Validate() error {
	if _, _, err := o.address(); err != nil {
		return fmt.Errorf("upstream: %w", err)
	}
	for _, number := range []struct {
		name  string
		value int
	}{{"limits.upstream_concurrency", o.Concurrency}, {"limits.upstream_queue", o.Queue}, {"limits.upstream_streams", o.Streams}} {
		if number.value < 0 {
			return fmt.Errorf("%s: %w: %d is negative", number.name, errOption, number.value)
		}
	}
	if o.Timeout < 0 {
		return fmt.Errorf("limits.upstream_timeout: %w: %v is negative", errOption, o.Timeout)
	}
	if _, err := parseVersion(o.MaxAPI); o.MaxAPI != "" && err != nil {
		return fmt.Errorf("max_api: %w", err)
	}
	return o.validateTLS()
}

func (o Options) validateTLS() error {
	files := []struct{ name, value string }{
		{"tls.ca_file", o.TLS.CAFile}, {"tls.cert_file", o.TLS.CertFile}, {"tls.key_file", o.TLS.KeyFile},
	}
	network, _, err := o.address()
	if err != nil {
		return err
	}
	for _, f := range files {
		if network == "tcp" && f.value == "" {
			return fmt.Errorf("%s: %w: missing (tcp needs TLS with a client certificate)", f.name, errOption)
		}
		if network == "unix" && f.value != "" {
			return fmt.Errorf("%s: %w: a Unix socket has no TLS", f.name, errOption)
		}
	}
	return nil
}

// hostPort is deliberately narrow: a name or an IPv4 or bracketed IPv6 address.
var hostPort = regexp.MustCompile(`^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$`)

// address splits Upstream into what net.Dial takes.
func (o Options) address() (network, address string, err error) {
	if path, ok := strings.CutPrefix(o.Upstream, "unix://"); ok {
		if !filepath.IsAbs(path) || len(path) > maxSocketPath || strings.ContainsRune(path, 0) {
			return "", "", fmt.Errorf("%w: %q is no absolute path of at most %d bytes", errOption, path, maxSocketPath)
		}
		return "unix", path, nil
	}
	if host, ok := strings.CutPrefix(o.Upstream, "tcp://"); ok {
		if !hostPort.MatchString(host) {
			return "", "", fmt.Errorf("%w: %q is not host:port", errOption, host)
		}
		return "tcp", host, nil
	}
	return "", "", fmt.Errorf("%w: %q is neither unix:///path nor tcp://host:port", errOption, o.Upstream)
}

func (o Options) withDefaults() Options {
	if o.Concurrency == 0 {
		o.Concurrency = defaultConcurrency
	}
	if o.Queue == 0 {
		o.Queue = queuePerSlot * o.Concurrency
	}
	if o.Streams == 0 {
		o.Streams = defaultStreams
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.MaxAPI == "" {
		o.MaxAPI = defaultMaxAPI
	}
	if o.UserAgent == "" {
		o.UserAgent = "tallyman"
	}
	if o.Observe == nil {
		o.Observe = func(string, time.Duration, error) {}
	}
	return o
}

// config reads the files once, so that a wrong one is told of at the start.
func (t TLSOptions) config(address string) (*tls.Config, error) {
	pem, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("tls.ca_file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls.ca_file: %w: no certificate in %q", errOption, t.CAFile)
	}
	if _, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
		return nil, fmt.Errorf("tls.cert_file, tls.key_file: %w", err)
	}
	name := t.ServerName
	if name == "" {
		if name, _, err = net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("upstream: %w", err)
		}
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, // what dockerd itself asks for
		RootCAs:    roots,
		ServerName: name,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("read client certificate: %w", err)
			}
			return &pair, nil
		},
	}, nil
}
