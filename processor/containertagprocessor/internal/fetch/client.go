package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// maxHeader bounds the header of an answer, in bytes. Those of the services
// that are asked have a few hundred.
const maxHeader = 16 << 10

// ErrTooLarge says that an answer was larger than the client's limit.
var ErrTooLarge = errors.New("the answer is too large")

// StatusError is an answer that is not 200.
type StatusError struct {
	// Code is the HTTP status.
	Code int
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("status %d %s", e.Code, http.StatusText(e.Code))
}

// Request is what to ask.
type Request struct {
	// Method is GET if empty.
	Method string
	// URL is complete.
	URL string
	// Header holds one value for each name.
	Header map[string]string
}

// Answer is what came back with status 200.
type Answer struct {
	Header http.Header
	Body   []byte
}

// Client asks. See the package for what it promises.
type Client struct {
	http    *http.Client
	timeout time.Duration
	limit   int64
}

// New returns a client whose requests take at most timeout each and whose
// answers have at most limit bytes.
func New(timeout time.Duration, limit int64) *Client {
	return &Client{
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:                  nil,
				DisableKeepAlives:      true,
				DisableCompression:     true,
				MaxResponseHeaderBytes: maxHeader,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout: timeout,
		limit:   limit,
	}
}

// Do asks once. Errors name the URL; a status other than 200 is a
// [StatusError], too much of an answer [ErrTooLarge].
func (c *Client) Do(ctx context.Context, r Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	answer, err := c.do(ctx, r)
	if err == nil {
		// A server that hears TLS end for the time that has passed may end its
		// answer before the socket is closed: cut short, and read as whole.
		err = ctx.Err()
	}
	if err != nil {
		return Answer{}, fmt.Errorf("ask %s: %w", r.URL, err)
	}
	return answer, nil
}

func (c *Client) do(ctx context.Context, r Request) (Answer, error) {
	request, err := http.NewRequestWithContext(ctx, r.Method, r.URL, nil)
	if err != nil {
		return Answer{}, plain(err)
	}
	for name, value := range r.Header {
		request.Header.Set(name, value)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return Answer{}, plain(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return Answer{}, &StatusError{Code: response.StatusCode}
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, c.limit+1))
	if err != nil {
		return Answer{}, err
	}
	if int64(len(body)) > c.limit {
		return Answer{}, fmt.Errorf("%w (more than %d bytes)", ErrTooLarge, c.limit)
	}
	return Answer{Header: response.Header, Body: body}, nil
}

// plain takes off the wrapper that repeats method and URL.
func plain(err error) error {
	var wrapper *url.Error
	if errors.As(err, &wrapper) {
		return wrapper.Err
	}
	return err
}
