package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// errTooLarge says that an answer is longer than any right one.
var errTooLarge = errors.New("answer is too large")

const (
	// maxBody bounds one answer. The longest right one is the list of all
	// containers: 10,000 of them at 4 KiB, which is more than the engine writes
	// for one with a dozen labels, are 40 MiB.
	maxBody = 64 << 20
	// maxHead bounds the header of an answer; engines send about 0.3 KB.
	maxHead = 64 << 10
	// idleConnections is for the inspects that run at once.
	idleConnections = syncWorkers
	// idleFor is shorter than the time after which engines and filters close an
	// idle connection themselves.
	idleFor = 30 * time.Second
)

// newTransport dials the endpoint by its path each time, so that a socket that
// was removed and made again is found.
func newTransport(endpoint string) (*http.Transport, error) {
	network, address, err := splitEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
		DisableCompression:     true,
		MaxIdleConnsPerHost:    idleConnections,
		IdleConnTimeout:        idleFor,
		MaxResponseHeaderBytes: maxHead,
	}, nil
}

// mobyHost writes the endpoint as the API's client wants it.
func mobyHost(endpoint string) string {
	if rest, ok := strings.CutPrefix(endpoint, "http://"); ok {
		return "tcp://" + rest
	}
	return endpoint
}

// boundedTransport makes reading more than limit bytes of an answer an error.
type boundedTransport struct {
	next  http.RoundTripper
	limit int64
}

// RoundTrip implements [http.RoundTripper].
func (t *boundedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Body = &boundedBody{ReadCloser: response.Body, left: t.limit}
	return response, nil
}

type boundedBody struct {
	io.ReadCloser
	left int64 // below 0 when the limit is passed
}

// Read implements [io.Reader].
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, fmt.Errorf("read answer: %w", errTooLarge)
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one more than allowed shows that there is more
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, fmt.Errorf("read answer: %w", errTooLarge)
	}
	return n, err
}
