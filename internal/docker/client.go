package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/moby/moby/client"
)

// ErrNotFound says that the engine knows no such container or image.
var ErrNotFound = errors.New("no such object")

var (
	errStatus = errors.New("engine answers")
	errNoID   = errors.New("no full container id")
	errOther  = errors.New("answer is about another container")
)

const (
	// defaultTimeout is for one request without a stream. An engine on the same
	// host answers in milliseconds; it holds an inspect back while it starts that
	// container, which takes seconds on a loaded host.
	defaultTimeout = 10 * time.Second
	// maxMessage is how much of an engine's error text is read.
	maxMessage = 4 << 10
)

// ClientOptions say which engine and how.
type ClientOptions struct {
	// Endpoint is unix:///path, tcp://host:port or http://host:port.
	Endpoint string
	// Timeout is for each request but the stream of events; zero is 10 s.
	Timeout time.Duration
}

// Client asks one engine. What is asked of each container comes as plain bytes
// and is parsed here: the types of the API are larger, and they refuse a whole
// answer for one odd address. Its methods are safe for concurrent use.
type Client struct {
	endpoint  string
	timeout   time.Duration
	transport *http.Transport
	bounded   http.Client // all but streams
	images    imageCache

	mu      sync.Mutex // guards the fields below
	api     *client.Client
	version string
}

// NewClient checks the endpoint. It does not connect.
func NewClient(options ClientOptions) (*Client, error) {
	transport, err := newTransport(options.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("make docker client: %w", err)
	}
	c := &Client{endpoint: options.Endpoint, timeout: options.Timeout, transport: transport}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	c.bounded = http.Client{
		Transport:     &boundedTransport{next: transport, limit: maxBody},
		CheckRedirect: client.CheckRedirect,
	}
	if c.api, err = c.newAPI(); err != nil {
		return nil, err
	}
	c.version = client.MinAPIVersion
	return c, nil
}

// newAPI makes a client that has agreed on no version yet.
func (c *Client) newAPI() (*client.Client, error) {
	api, err := client.New(
		client.WithHost(mobyHost(c.endpoint)),
		// After the host: that option wants a transport of its own kind.
		client.WithHTTPClient(&c.bounded),
		client.WithScheme("http"),
	)
	if err != nil {
		return nil, fmt.Errorf("make docker client: %w", err)
	}
	return api, nil
}

// Close drops idle connections. The client may be used again.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Engine agrees on a version of the API with the engine, anew with each call,
// and returns what the engine says of itself. Without it the oldest version that
// is still spoken is used.
func (c *Client) Engine(ctx context.Context) (Engine, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	api, err := c.newAPI()
	if err != nil {
		return Engine{}, err
	}
	if _, err := api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return Engine{}, fmt.Errorf("ping docker engine: %w", err)
	}
	answer, err := api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return Engine{}, fmt.Errorf("ask docker engine for its version: %w", err)
	}
	e := Engine{Runtime: "docker", Version: answer.Version, APIVersion: api.ClientVersion()}
	for _, component := range answer.Components {
		if component.Name == "Podman Engine" {
			e.Runtime, e.Version = "podman", component.Version
		}
	}
	c.mu.Lock()
	c.api, c.version = api, e.APIVersion
	c.mu.Unlock()
	return e, nil
}

// List returns all containers, also those that do not run, with no more than
// id, name, image and labels.
func (c *Client) List(ctx context.Context) ([]*Container, error) {
	body, err := c.read(ctx, "/containers/json", url.Values{"all": {"1"}})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	list, err := parseList(body)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return list, nil
}

// Inspect returns one container by its full id, without what only its image
// knows (see Images). The error is [ErrNotFound] when there is none.
func (c *Client) Inspect(ctx context.Context, id string) (*Container, error) {
	if !isID(id) {
		return nil, fmt.Errorf("inspect container %.64q: %w", id, errNoID)
	}
	body, err := c.read(ctx, "/containers/"+id+"/json", nil)
	if err != nil {
		return nil, fmt.Errorf("inspect container %.12s: %w", id, err)
	}
	found, err := parseContainer(body)
	if err == nil && found.ID != id {
		err = errOther
	}
	if err != nil {
		return nil, fmt.Errorf("inspect container %.12s: %w", id, err)
	}
	return found, nil
}

// read asks for one object, within the client's time and bounds.
func (c *Client) read(ctx context.Context, path string, query url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	response, err := c.get(ctx, &c.bounded, path, query)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	return body, errors.Join(err, response.Body.Close())
}

// get asks in the version of the API that was agreed on. Any answer but 200 is
// an error.
func (c *Client) get(ctx context.Context, by *http.Client, path string, query url.Values) (*http.Response, error) {
	c.mu.Lock()
	version := c.version
	c.mu.Unlock()
	target := url.URL{Scheme: "http", Host: client.DummyHost, Path: "/v" + version + path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("User-Agent", "tallyman")
	response, err := by.Do(request)
	if err != nil {
		return nil, bareError(err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusNotFound {
		return nil, ErrNotFound
	}
	return nil, fmt.Errorf("%w %s: %q", errStatus, strconv.Itoa(response.StatusCode), errorText(response.Body))
}

// bareError leaves out the address that net/http adds: it is a made-up one.
func bareError(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// errorText takes the text out of {"message": "..."}; other text is taken as it is.
func errorText(body io.Reader) string {
	text, _ := io.ReadAll(io.LimitReader(body, maxMessage))
	var answer struct{ Message string }
	if json.Unmarshal(text, &answer) == nil && answer.Message != "" {
		return answer.Message
	}
	return string(text)
}

// idDigits is how long container ids are in Docker and Podman.
const idDigits = 64

// isID tells whether text is a full id. Others could be a name, or a path.
func isID(text string) bool {
	if len(text) != idDigits {
		return false
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
