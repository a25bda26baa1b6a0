package runner_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/runner"
)

// claims is a page whose resource says that it is from somebody else.
const claims = `# TYPE target_info gauge
target_info{"container.id"="other","container.name"="payments","k8s.pod.name"="payments-0","service.version"="1.2"} 1
# TYPE app_requests counter
app_requests_total 1
`

// What a label has asked for may say what application it is, and not which container,
// pod or host. The name of the service that is only the job's is left to container_tag.
func TestClaims(t *testing.T) {
	f := func(isTrusted bool, want map[string]string) {
		t.Helper()
		page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, claims) }))
		defer page.Close()
		wish := scraping(&application{Server: page}, containerA, scrapeEvery)
		wish.Trusted, wish.Drop = isTrusted, map[string]string{"service.name": "app", "service.version": "1.0"}
		g := newRig(t, factories{"prometheus": prometheusreceiver.NewFactory()}, func(o *runner.Options) {
			o.Allow = func(component.Type) bool { return true }
		})
		g.Set([]spec.Spec{wish})
		var attributes pcommon.Map
		testkit.Eventually(t, soon, func() error {
			for _, md := range g.metrics.AllMetrics() {
				for _, rm := range md.ResourceMetrics().All() {
					if _, ok := rm.Resource().Attributes().Get("service.version"); ok {
						attributes = rm.Resource().Attributes()
						return nil
					}
				}
			}
			return fmt.Errorf("nothing has come of %v", g.Status())
		})
		for key, value := range want {
			got, ok := attributes.Get(key)
			if ok != (value != "") || ok && got.Str() != value {
				t.Errorf("%s is %q, want %q", key, strings.TrimSpace(got.AsString()), value)
			}
		}
	}
	f(false, map[string]string{"container.id": containerA, "container.name": "", "k8s.pod.name": "", "service.name": "", "service.version": "1.2"})
	f(true, map[string]string{"container.id": containerA, "container.name": "payments", "k8s.pod.name": "payments-0", "service.name": "", "service.version": "1.2"})
}
