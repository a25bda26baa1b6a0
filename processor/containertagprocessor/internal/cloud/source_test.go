package cloud

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/fetch"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/sinktest"
)

var _ entity.Source = (*Source)(nil)

const (
	up   = "up cloud"
	down = "down cloud"
)

// serve starts a metadata service that counts its requests.
func serve(t *testing.T, handler http.Handler) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

// run starts a source on the machine. All clouds are at url.
func run(t *testing.T, name, url string, timeout time.Duration) *sinktest.Recorder {
	t.Helper()
	sink := new(sinktest.Recorder)
	sinktest.Run(t, New(Options{
		Roots: machine(t, name), AWS: url, GCP: url, Azure: url,
		Timeout: timeout, Backoff: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond,
	}), sink)
	return sink
}

// imds is Amazon's service, version 2 only.
func imds(t *testing.T, document string) http.Handler {
	t.Helper()
	const token = "AQAEAMs_kYIc=="
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") != "60" {
			http.Error(w, "no time", http.StatusBadRequest)
			return
		}
		_, _ = w.Write([]byte(token))
	})
	mux.HandleFunc("GET /latest/dynamic/instance-identity/document", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-aws-ec2-metadata-token") != token {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(document))
	})
	return mux
}

// gce is Google's metadata server with the values given.
func gce(values map[string]string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		value, ok := values[strings.TrimPrefix(r.URL.Path, "/computeMetadata/v1/")]
		switch {
		case r.Header.Get("Metadata-Flavor") != "Google":
			http.Error(w, "flavor", http.StatusForbidden)
		case !ok:
			http.NotFound(w, r)
		default:
			_, _ = w.Write([]byte(value))
		}
	})
}

func gceValues() map[string]string {
	return map[string]string{
		"instance/id":           "5737554347302044216",
		"instance/zone":         "projects/523926462582/zones/us-west1-b",
		"instance/machine-type": "projects/523926462582/machineTypes/e2-medium",
		"instance/image":        "projects/debian-cloud/global/images/debian-11-bullseye-v20230814",
		"project/project-id":    "acme-eng",
	}
}

func azure(document string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Metadata") != "true":
			http.Error(w, "header", http.StatusBadRequest)
		case r.URL.Path != "/metadata/instance/compute" || r.URL.Query().Get("api-version") != "2020-09-01":
			http.NotFound(w, r)
		default:
			_, _ = w.Write([]byte(document))
		}
	})
}

func TestClouds(t *testing.T) {
	f := func(name string, handler http.Handler, want map[string]string) {
		t.Run(name, func(t *testing.T) {
			testkit.VerifyNoLeaks(t)
			url, _ := serve(t, handler)
			sink := run(t, name, url, 20*time.Second)
			sink.Await(t, up, 1)
			if diff := cmp.Diff(want, sink.Host()); diff != "" {
				t.Errorf("(-want +have)\n%s", diff)
			}
			if n := sink.Count(down); n != 0 {
				t.Errorf("down: %v", sink.Downs())
			}
		})
	}
	aws := map[string]string{
		"cloud.provider": "aws", "cloud.platform": "aws_ec2", "cloud.account.id": "123456789012",
		"cloud.region": "us-west-2", "cloud.availability_zone": "us-west-2b",
		"host.id": "i-1234567890abcdef0", "host.type": "t2.micro", "host.image.id": "ami-5fb8c835",
	}
	f("nitro", imds(t, fixture(t, "aws.json")), aws)
	f("xen", imds(t, fixture(t, "aws.json")), aws)
	gcp := map[string]string{
		"cloud.provider": "gcp", "cloud.platform": "gcp_compute_engine", "cloud.account.id": "acme-eng",
		"cloud.region": "us-west1", "cloud.availability_zone": "us-west1-b",
		"host.id": "5737554347302044216", "host.type": "e2-medium",
		"host.image.id": "projects/debian-cloud/global/images/debian-11-bullseye-v20230814",
	}
	f("gce", gce(gceValues()), gcp)
	noImage := gceValues()
	delete(noImage, "instance/image")
	delete(gcp, "host.image.id")
	f("gce", gce(noImage), gcp)
	f("azure", azure(fixture(t, "azure.json")), map[string]string{
		"cloud.provider": "azure", "cloud.platform": "azure.vm",
		"cloud.account.id": "8d10da13-8125-4ba9-a717-bf7490507b3d",
		"cloud.region":     "westus", "cloud.availability_zone": "1",
		"host.id": "02aab8a4-74ef-476e-8182-f6d2ba4166a6", "host.type": "Standard_A3",
		"host.image.id": "Canonical:UbuntuServer:16.04.0-LTS:latest",
	})
}

// Values that are none are left out, the others are told.
func TestOddValues(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	document := strings.NewReplacer(
		`"us-west-2b"`, `"`+strings.Repeat("x", 257)+`"`,
		`"123456789012"`, `"bell\u0007"`,
		`"t2.micro"`, `""`,
	).Replace(fixture(t, "aws.json"))
	url, _ := serve(t, imds(t, document))
	sink := run(t, "nitro", url, 20*time.Second)
	sink.Await(t, up, 1)
	want := []string{"cloud.platform", "cloud.provider", "cloud.region", "host.id", "host.image.id"}
	have := sink.Host()
	for _, key := range want {
		if have[key] == "" {
			t.Errorf("no %s", key)
		}
		delete(have, key)
	}
	if len(have) != 0 {
		t.Errorf("also told: %v", have)
	}
}

// A host that is in no cloud sends nothing, and is up.
func TestNoCloud(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	url, asked := serve(t, http.NotFoundHandler())
	for _, name := range []string{"nothing", "hyperv", "chromebook", "unlucky"} {
		sink := run(t, name, url, time.Second)
		sink.Await(t, up, 1)
		if have := sink.Host(); len(have) != 0 {
			t.Errorf("%s: %v", name, have)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

// Each way to get no answer: told once, what DMI says stays, and the answer is
// found when it is there.
func TestTriesAgain(t *testing.T) {
	f := func(name string, check func(error) bool, broken, good http.Handler) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			testkit.VerifyNoLeaks(t)
			var works atomic.Bool
			url, asked := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if works.Load() {
					good.ServeHTTP(w, r)
				} else {
					broken.ServeHTTP(w, r)
				}
			}))
			sink := run(t, strings.Fields(name)[0], url, 100*time.Millisecond)
			sink.Await(t, down, 1)
			if err := sink.Downs()[0]; !check(err) {
				t.Errorf("told %v", err)
			}
			before := asked.Load()
			testkit.Eventually(t, 30*time.Second, func() error {
				if n := asked.Load(); n < before+3 {
					return fmt.Errorf("asked %d times", n)
				}
				return nil
			})
			if have := sink.Host(); have["cloud.provider"] == "" {
				t.Errorf("without the service: %v", have)
			}
			works.Store(true)
			sink.Await(t, up, 1)
			if have := sink.Host(); have["cloud.region"] == "" || have["host.id"] == "" {
				t.Errorf("with the service: %v", have)
			}
			if n := sink.Count(down); n != 1 {
				t.Errorf("down %d times", n)
			}
		})
	}
	says := func(text string) func(error) bool {
		return func(err error) bool { return strings.Contains(err.Error(), text) }
	}
	body := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
	}
	slow := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	forbidden := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	huge := body(strings.Repeat("x", maxAnswer+1))
	elsewhere := http.RedirectHandler("/latest/meta-data/", http.StatusFound)
	isHuge := func(err error) bool { return errors.Is(err, fetch.ErrTooLarge) }
	good := imds(t, fixture(t, "aws.json"))
	f("nitro token refused", says("hop limit"), forbidden, good)
	f("nitro token with a line feed", says("token"), body("a\nX-Other: 1"), good)
	f("nitro slow", says("deadline"), slow, good)
	f("nitro huge", isHuge, huge, good)
	f("nitro elsewhere", says("status 302"), elsewhere, good)
	f("nitro malformed", says("parse the instance identity document"), imds(t, `{"instanceId":`), good)
	f("nitro huge document", isHuge, imds(t, strings.Repeat(" ", maxAnswer+1)), good)
	good = gce(gceValues())
	f("gce not Google", says("not of Google"), body("5737554347302044216"), good)
	f("gce slow", says("deadline"), slow, good)
	odd := maps.Clone(gceValues())
	odd["instance/zone"] = "a\nb"
	f("gce malformed", says("not short printable"), gce(odd), good)
	good = azure(fixture(t, "azure.json"))
	f("azure malformed", says("parse Azure"), azure("<html>"), good)
	f("azure another document", says("vmId"), azure("{}"), good)
	f("azure huge", isHuge, huge, good)
}

// Five values of Google's within their time each are still one attempt.
func TestAttemptIsBounded(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	good := gce(gceValues())
	url, asked := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timer := time.NewTimer(60 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
			good.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	source := New(Options{Roots: machine(t, "gce"), GCP: url, Timeout: 10 * time.Second, Attempt: 150 * time.Millisecond})
	_, err := source.ask(t.Context(), GCP)
	if err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("got %v", err)
	}
	if n := asked.Load(); n > 3 {
		t.Errorf("asked %d times", n)
	}
}

// Stopping does not wait for an answer.
func TestStopsAtOnce(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	url, asked := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	sink := new(sinktest.Recorder)
	stop := sinktest.Run(t, New(Options{Roots: machine(t, "nitro"), AWS: url, Timeout: time.Hour, Attempt: time.Hour}), sink)
	testkit.Eventually(t, 30*time.Second, func() error {
		if asked.Load() == 0 {
			return errors.New("not asked yet")
		}
		return nil
	})
	stop()
	if n := sink.Count(down) + sink.Count(up); n != 0 {
		t.Errorf("told %q", sink.Calls())
	}
}
