package guard

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/extensionmiddleware"
)

// name is the extension's in the configuration. Nothing in a distribution is
// called so: types of the Collector name a technology.
const name = "tallyman_discovery_guard"

// Guard lets requests pass to one address. Make it with New, one for each receiver.
type Guard struct {
	component.StartFunc
	component.ShutdownFunc
	// allowed is the zero value if nothing is.
	allowed netip.AddrPort
}

var _ extensionmiddleware.HTTPClient = (*Guard)(nil)

// New returns the guard for an endpoint, "address:port". One that is not of this
// form lets nothing pass.
func New(endpoint string) *Guard {
	at, err := netip.ParseAddrPort(endpoint)
	if err != nil {
		return &Guard{}
	}
	return &Guard{allowed: plain(at)}
}

// plain makes the two forms of an IPv4 address one.
func plain(at netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// GetHTTPRoundTripper implements [extensionmiddleware.HTTPClient].
func (g *Guard) GetHTTPRoundTripper(context.Context) (extensionmiddleware.WrapHTTPRoundTripperFunc, error) {
	return g.wrap, nil
}

// wrap changes the transport, which confighttp has made for this client alone: a
// proxy, of the settings or of the environment, would connect for us to who knows whom.
func (g *Guard) wrap(_ context.Context, base http.RoundTripper) (http.RoundTripper, error) {
	transport, ok := base.(*http.Transport)
	if !ok {
		return nil, fmt.Errorf("guard a client: where a %T connects to is not known", base)
	}
	if base == http.DefaultTransport { // everybody's
		transport = transport.Clone()
	}
	transport.Proxy = nil
	transport.DisableCompression = true
	transport.MaxResponseHeaderBytes = longestHeaders
	return &tripper{next: transport, allowed: g.allowed}, nil
}

// id is what configurations know a guard by.
func id() component.ID { return component.NewID(component.MustNewType(name)) }
