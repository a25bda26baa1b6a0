package guard

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
)

const (
	// longestBody is a thousand times a status page. Most receivers read it at once, and
	// nginx quotes what is no status page: 1 MiB of that made a scrape allocate 49 MiB
	// and a heap of 59, 16 MiB made it 1377 and 735 (November 2026, without ShortLog).
	longestBody = 1 << 20
	// longestHeaders: servers themselves take 8 to 64 KiB (Apache, nginx, Node.js).
	longestHeaders = 64 << 10
	// longestQuote of what a container has said.
	longestQuote = 128
)

var (
	errElsewhere = errors.New("this receiver was asked for by a label and may ask its own container only")
	errRedirect  = errors.New("not followed, since this receiver was asked for by a label")
	errEncoded   = errors.New("nobody asked for that")
	errTooLong   = fmt.Errorf("read answer: it is longer than %d MiB, which is as much as a label may make a receiver read (write a rule)", longestBody>>20)
)

// tripper is the client's transport. It is the innermost, so that it sees requests
// as they leave and answers as they come.
type tripper struct {
	next    http.RoundTripper
	allowed netip.AddrPort
}

// RoundTrip implements [http.RoundTripper].
func (t *tripper) RoundTrip(asked *http.Request) (*http.Response, error) {
	if at, ok := addressOf(asked.URL); !ok || at != t.allowed {
		if asked.Body != nil {
			_ = asked.Body.Close() // its owner relies on that; nothing was read of it
		}
		return nil, fmt.Errorf("send request to %.*q: %w (%s)", longestQuote, asked.URL.Host, errElsewhere, t.allowed)
	}
	request := asked.Clone(asked.Context())
	if request.Header == nil {
		request.Header = http.Header{}
	}
	request.Header.Set("Accept-Encoding", "identity")
	response, err := t.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if err := check(response); err != nil {
		_ = response.Body.Close() // the error that counts is the other one
		return nil, err
	}
	response.Body = &body{ReadCloser: response.Body, left: longestBody}
	return response, nil
}

// addressOf is where a request goes. A name is nobody's own: who answers for it may
// change between two requests.
func addressOf(u *url.URL) (netip.AddrPort, bool) {
	port := u.Port()
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return netip.AddrPort{}, false
	case port == "" && u.Scheme == "http":
		port = "80"
	case port == "":
		port = "443"
	}
	at, err := netip.ParseAddrPort(net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return netip.AddrPort{}, false
	}
	return plain(at), true
}

func check(response *http.Response) error {
	if to := response.Header.Get("Location"); to != "" && response.StatusCode/100 == 3 {
		return fmt.Errorf("redirect to %.*q: %w", longestQuote, to, errRedirect)
	}
	if encoding := response.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return fmt.Errorf("read answer encoded as %.*q: %w", longestQuote, encoding, errEncoded)
	}
	if response.ContentLength > longestBody {
		return errTooLong
	}
	return nil
}

// body is an answer that ends in an error where it gets too long.
type body struct {
	io.ReadCloser
	left int64 // bytes that may still be read; -1: there were more
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLong
	}
	if int64(len(p)) > b.left+1 { // one more tells whether there is more
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		n, err = int(b.left), errTooLong
		b.left = -1
		return n, err
	}
	b.left -= int64(n)
	return n, err
}
