package kubelet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	// maxBody bounds an answer: 500 pods of 128 kB each, where the largest
	// object that etcd takes is 1.5 MB and a usual pod has 10 kB.
	maxBody = 64 << 20
	// maxKept is the buffer that is kept for the next answer: about 400 usual
	// pods.
	maxKept = 4 << 20
	// maxToken is far above a service account's token, which has about 1 kB.
	maxToken = 64 << 10
)

var (
	// errAnswer: there was an answer, and it is of no use.
	errAnswer = errors.New("the kubelet's answer is of no use")
	errToken  = errors.New("it has no token in one line of printable characters")
	errNoPEM  = errors.New("it has no certificate in PEM")
)

// client asks one kubelet. It is used by one goroutine.
type client struct {
	url     string
	options *Options
	http    *http.Client
	body    bytes.Buffer
	last    [sha256.Size]byte // hash of the last answer that was decoded
}

// answer is what the kubelet said.
type answer struct {
	// changed: it is not the same text as before, or was not understood as a
	// whole. Only then pods is set.
	changed bool
	pods    pods
}

func newClient(url string, options *Options) (*client, error) {
	roots, err := readCertificates(options.CAFile)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext: (&net.Dialer{Timeout: options.Timeout}).DialContext,
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			RootCAs:            roots,
			InsecureSkipVerify: options.InsecureSkipVerify, //nolint:gosec // the user's explicit wish
		},
		ForceAttemptHTTP2: true,
		// One connection, kept over the usual interval.
		MaxIdleConns:    1,
		IdleConnTimeout: 2*options.Interval + time.Second,
		// No proxy: the kubelet is this node's.
	}
	return &client{url: url, options: options, http: &http.Client{
		Transport: transport,
		// The token is for the kubelet, not for whom it points to.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// pods asks for the node's pods.
func (c *client) pods(ctx context.Context) (answer, error) {
	if err := c.fetch(ctx); err != nil {
		return answer{}, err
	}
	defer func() {
		if c.body.Cap() > maxKept {
			c.body = bytes.Buffer{}
		}
	}()
	sum := sha256.Sum256(c.body.Bytes())
	if sum == c.last {
		return answer{}, nil
	}
	all, err := parsePods(c.body.Bytes())
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", errAnswer, err)
	}
	// After a pod that is not understood the next answer counts in any case: for
	// how long it may stay, and because the view is not what the last sum says.
	c.last = sum
	if len(all.broken) > 0 {
		c.last = [sha256.Size]byte{}
	}
	return answer{changed: true, pods: all}, nil
}

// fetch reads the answer into the buffer, within the timeout. When that passes,
// the connection is ended, which TLS says before the socket is closed: a kubelet
// that hears it ends its answer, and the end may still be read. It is no whole
// answer for that.
func (c *client) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	err := c.read(ctx)
	if err == nil && ctx.Err() != nil {
		return fmt.Errorf("read the kubelet's answer: %w", ctx.Err())
	}
	return err
}

func (c *client) read(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, http.NoBody)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Accept", "application/json")
	if request.URL.Scheme == "https" {
		token, err := readToken(c.options.TokenFile)
		if err != nil {
			return err
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask the kubelet: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s answered %s%s", errAnswer, c.url, response.Status, advice(response.StatusCode))
	}
	c.body.Reset()
	n, err := c.body.ReadFrom(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return fmt.Errorf("read the kubelet's answer: %w", err)
	}
	if n > maxBody {
		c.body = bytes.Buffer{}
		return fmt.Errorf("%w: it has more than %d bytes", errAnswer, maxBody)
	}
	return nil
}

// advice is what helps against a refusal.
func advice(code int) string {
	switch code {
	case http.StatusUnauthorized:
		return " (the token is missing or not accepted; the kubelet needs authentication.webhook.enabled for tokens)"
	case http.StatusForbidden:
		return " (the service account needs get on nodes/pods, before Kubernetes 1.33 on nodes/proxy)"
	}
	return ""
}

// readToken reads the token. It is read each time: the file is replaced before
// the token ends, and reading it costs microseconds.
func readToken(file string) (string, error) {
	isDefault := file == ""
	if isDefault {
		file = defaultTokenFile
	}
	f, err := os.Open(file)
	if isDefault && errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxToken))
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	isForeign := func(r rune) bool { return r <= ' ' || r > '~' }
	if token == "" || strings.ContainsFunc(token, isForeign) {
		return "", fmt.Errorf("read token of %s: %w", file, errToken)
	}
	return token, nil
}

// readCertificates returns nil, which means those of the system, without a file.
func readCertificates(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read certificates of %s: %w", file, errNoPEM)
	}
	return pool, nil
}
