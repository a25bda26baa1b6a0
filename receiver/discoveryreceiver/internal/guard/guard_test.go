package guard_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/service/hostcapabilities"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/nginxreceiver"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver"

	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/guard"
)

// guarded returns what the guard for an endpoint makes of a transport.
func guarded(t *testing.T, endpoint string, base http.RoundTripper) (http.RoundTripper, error) {
	t.Helper()
	wrap, err := guard.New(endpoint).GetHTTPRoundTripper(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return wrap(t.Context(), base)
}

// Only what goes to the endpoint gets as far as the network.
func TestAddress(t *testing.T) {
	errDialled := errors.New("dialled")
	f := func(endpoint, url, want string) {
		t.Helper()
		var dialled string
		client, err := guarded(t, endpoint, &http.Transport{DialContext: func(_ context.Context, _, to string) (net.Conn, error) {
			dialled = to
			return nil, errDialled
		}})
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.RoundTrip(request)
		switch {
		case dialled != want:
			t.Errorf("%s at %s: dialled %q, want %q", url, endpoint, dialled, want)
		case want == "" && (err == nil || !strings.Contains(err.Error(), "may ask its own container only")):
			t.Errorf("%s at %s: %v", url, endpoint, err)
		case want != "" && !errors.Is(err, errDialled):
			t.Errorf("%s at %s: %v", url, endpoint, err)
		}
	}
	f("10.0.0.3:80", "http://10.0.0.3/status", "10.0.0.3:80")
	f("10.0.0.3:80", "http://10.0.0.3:80/status", "10.0.0.3:80")
	f("10.0.0.3:443", "https://10.0.0.3/status", "10.0.0.3:443")
	f("10.0.0.3:80", "http://[::ffff:10.0.0.3]/", "[::ffff:10.0.0.3]:80")
	f("[::ffff:10.0.0.3]:80", "http://10.0.0.3/", "10.0.0.3:80")
	f("[fd00::3]:8080", "http://[fd00:0::3]:8080/", "[fd00:0::3]:8080")
	for _, url := range []string{
		"http://10.0.0.3:81/", "https://10.0.0.3/", "http://10.0.0.4/", "http://169.254.169.254/",
		"http://10.0.0.3.example.org/", "http://10.0.0.3@127.0.0.1/", "http://localhost:80/", "http://[fd00::3]/", "ftp://10.0.0.3:80/",
	} {
		f("10.0.0.3:80", url, "")
	}
	f("", "http://10.0.0.3/", "")
	f("", "http://0.0.0.0:0/", "")
	f("web:80", "http://web/", "")
}

// A guard that does not see where a client connects to is none; and the transport
// of all others in the process is left as it is.
func TestTransport(t *testing.T) {
	_, err := guarded(t, "10.0.0.3:80", roundTripper{})
	if err == nil || !strings.Contains(err.Error(), "guard_test.roundTripper connects to is not known") {
		t.Errorf("of a foreign transport: %v", err)
	}
	if _, err := guarded(t, "10.0.0.3:80", http.DefaultTransport); err != nil {
		t.Errorf("of the default transport: %v", err)
	}
	if everybodys := http.DefaultTransport.(*http.Transport); everybodys.Proxy == nil || everybodys.DisableCompression {
		t.Error("the default transport has changed")
	}
}

type roundTripper struct{ http.RoundTripper }

type (
	// serving listens.
	serving struct {
		confighttp.ServerConfig `mapstructure:",squash"`
	}
	// nested and listed have their clients below.
	nested struct {
		HTTP confighttp.ClientConfig `mapstructure:"http"`
	}
	listed struct {
		Middlewares []any    `mapstructure:"middlewares"`
		Targets     []nested `mapstructure:"targets"`
	}
	// both have one that could be guarded, and another one.
	both struct {
		Client                 clientSettings `mapstructure:",squash"`
		Other                  other          `mapstructure:",squash"`
		UnrelatedBelowSquashed int
	}
	clientSettings struct {
		confighttp.ClientConfig `mapstructure:",squash"`
	}
	other struct {
		Login configoptional.Optional[map[string]*nested] `mapstructure:"login"`
	}
	// namesake has a setting of that name with another meaning.
	namesake struct {
		Middlewares []map[string]string `mapstructure:"middlewares"`
	}
	// anything takes every setting and knows none.
	anything struct {
		Rest map[string]any `mapstructure:",remain"`
	}
	// deep has all of it two steps below, and a type that refers to itself.
	deep struct {
		Settings *clientSettings `mapstructure:",squash"`
		Ring     ring            `mapstructure:"ring"`
	}
	ring struct {
		Next *ring `mapstructure:"next"`
	}
)

// A receiver counts as guarded if it is known to be. Then nothing that was given
// for it is lost but other middlewares.
func TestConfigure(t *testing.T) {
	f := func(defaults component.Config, want bool) {
		t.Helper()
		given := confmap.NewFromStringMap(map[string]any{"endpoint": "http://10.0.0.3", "middlewares": []any{map[string]any{"id": "theirs"}}})
		if got := guard.Configure(given, defaults); got != want {
			t.Errorf("%T: %v, want %v", defaults, got, want)
		}
		if given.Get("endpoint") != "http://10.0.0.3" {
			t.Errorf("%T: the endpoint became %v", defaults, given.Get("endpoint"))
		}
		middlewares := given.Get("middlewares").([]any)
		isTheirs := middlewares[0].(map[string]any)["id"] == "theirs"
		if len(middlewares) != 1 || isTheirs == want {
			t.Errorf("%T: the middlewares became %v", defaults, middlewares)
		}
	}
	f(nginxreceiver.NewFactory().CreateDefaultConfig(), true)
	f(&deep{Settings: &clientSettings{}}, true)
	f(prometheusreceiver.NewFactory().CreateDefaultConfig(), false)
	f(&serving{}, false)
	f(&nested{}, false)
	f(&listed{}, false)
	f(&both{}, false)
	f(&namesake{}, false)
	f(&anything{}, false)
	f(&struct{}{}, false)
}

// reporting is a host that offers all that the Collector's own does.
type reporting struct {
	component.Host
	reported []*componentstatus.Event
}

func (r *reporting) Report(e *componentstatus.Event) { r.reported = append(r.reported, e) }

func (r *reporting) GetFactory(kind component.Kind, t component.Type) component.Factory {
	if kind == component.KindReceiver && t.String() == "nginx" {
		return nginxreceiver.NewFactory()
	}
	return nil
}

func (r *reporting) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{component.MustNewID("theirs"): nil}
}

func TestHost(t *testing.T) {
	g := guard.New("10.0.0.3:80")
	inner := &reporting{Host: componenttest.NewNopHost()}
	host := g.Host(inner)
	extensions := host.GetExtensions()
	if _, ok := extensions[component.MustNewID("theirs")]; !ok || len(extensions) != 2 {
		t.Errorf("extensions %v", extensions)
	}
	if len(inner.GetExtensions()) != 1 {
		t.Errorf("the host itself has %v", inner.GetExtensions())
	}
	componentstatus.ReportStatus(host, componentstatus.NewEvent(componentstatus.StatusOK))
	if len(inner.reported) != 1 {
		t.Errorf("%d reports", len(inner.reported))
	}
	factories := host.(hostcapabilities.ComponentFactory)
	if _, ok := factories.GetFactory(component.KindReceiver, component.MustNewType("nginx")).(receiver.Factory); !ok {
		t.Error("the factory is not found")
	}
	if factories.GetFactory(component.KindReceiver, component.MustNewType("other")) != nil {
		t.Error("a factory is found that is none")
	}

	bare := g.Host(componenttest.NewNopHost())
	componentstatus.ReportStatus(bare, componentstatus.NewEvent(componentstatus.StatusOK))
	if bare.(hostcapabilities.ComponentFactory).GetFactory(component.KindReceiver, component.MustNewType("nginx")) != nil {
		t.Error("a host without factories has one")
	}
	if len(bare.GetExtensions()) != 1 {
		t.Errorf("extensions %v", bare.GetExtensions())
	}
}
