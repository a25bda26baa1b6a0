package kubelet_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/kubelet"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/sinktest"
)

var _ entity.Source = (*kubelet.Source)(nil)

// soon bounds waits in these tests; it only has to be longer than a loaded
// machine needs.
const soon = 20 * time.Second

// compareEntity compares addresses by value.
var compareEntity = cmp.Options{cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()}

// run starts a source and ends it with the test.
func run(t testing.TB, options kubelet.Options) (*kubelet.Source, *sinktest.Recorder) {
	t.Helper()
	source, err := kubelet.New(options)
	require.NoError(t, err)
	sink := new(sinktest.Recorder)
	sinktest.Run(t, source, sink)
	return source, sink
}

// never is longer than any of these tests: what happens, happens for another
// reason than the interval.
const never = time.Hour

// fake is a kubelet on a real port, with a certificate of its own.
type fake struct {
	*httptest.Server
	tokenFile, caFile string

	mu     sync.Mutex
	token  string
	body   string
	status int
	asked  int
	seen   []string         // the values of Authorization
	serve  http.HandlerFunc // instead, if set
	times  []time.Time      // when it was asked
}

func newFake(t *testing.T, body string) *fake {
	t.Helper()
	dir := t.TempDir()
	f := &fake{token: "first-token", body: body, tokenFile: filepath.Join(dir, "token"), caFile: filepath.Join(dir, "ca.crt")}
	f.Server = httptest.NewTLSServer(f)
	t.Cleanup(f.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	require.NoError(t, os.WriteFile(f.caFile, ca, 0o600))
	require.NoError(t, os.WriteFile(f.tokenFile, []byte(f.token+"\n"), 0o600))
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked++
	f.times = append(f.times, time.Now())
	f.seen = append(f.seen, r.Header.Get("Authorization"))
	token, body, status, serve := f.token, f.body, f.status, f.serve
	f.mu.Unlock()
	switch {
	case serve != nil:
		serve(w, r)
	case r.Header.Get("Authorization") != "Bearer "+token:
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	case r.URL.Path != "/pods":
		http.NotFound(w, r)
	case status != 0:
		http.Error(w, "no", status)
	default:
		_, _ = w.Write([]byte(body))
	}
}

func (f *fake) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fake) count() (n int) {
	f.change(func() { n = f.asked })
	return n
}

func (f *fake) waitAsked(t *testing.T, n int) {
	t.Helper()
	testkit.Eventually(t, soon, func() error {
		if got := f.count(); got < n {
			return fmt.Errorf("asked %d times, want %d", got, n)
		}
		return nil
	})
}

func (f *fake) options() kubelet.Options {
	return kubelet.Options{Endpoint: f.URL, TokenFile: f.tokenFile, CAFile: f.caFile, Interval: never}
}

// list is an answer with one pod per uid, each with one container.
func list(uids ...string) string {
	var items []string
	for _, uid := range uids {
		items = append(items, fmt.Sprintf(`{"metadata":{"uid":%q,"name":"pod-%[1]s","namespace":"n"},"status":`+
			`{"containerStatuses":[{"name":"main","containerID":"containerd://c-%[1]s"}]}}`, uid))
	}
	return `{"kind":"PodList","apiVersion":"v1","items":[` + strings.Join(items, ",") + `]}`
}

func TestNew(t *testing.T) {
	f := func(o kubelet.Options, good bool) {
		t.Helper()
		if _, err := kubelet.New(o); (err == nil) != good {
			t.Errorf("%+v: %v", o, err)
		} else if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password is in the error %v", err)
		}
	}
	noPEM := filepath.Join(t.TempDir(), "ca")
	require.NoError(t, os.WriteFile(noPEM, []byte("x"), 0o600))
	f(kubelet.Options{Endpoint: "https://node:10250"}, true)
	f(kubelet.Options{Endpoint: "http://127.0.0.1:10255/"}, true)
	f(kubelet.Options{}, false)
	f(kubelet.Options{Endpoint: "node:10250"}, false)
	f(kubelet.Options{Endpoint: "unix:///x"}, false)
	f(kubelet.Options{Endpoint: "https://"}, false)
	f(kubelet.Options{Endpoint: "https://user:hunter2@node"}, false)
	f(kubelet.Options{Endpoint: "https://node", CAFile: "/nowhere"}, false)
	f(kubelet.Options{Endpoint: "https://node", CAFile: noPEM}, false)
}

// TestFixture compares all that a documented answer tells.
func TestFixture(t *testing.T) {
	text, err := os.ReadFile("testdata/pods.json")
	require.NoError(t, err)
	f := newFake(t, string(text))
	options := f.options()
	options.KeepEnv = func(name string) bool { return strings.HasPrefix(name, "OTEL_") }
	_, sink := run(t, options)
	sink.Await(t, "up kubelet", 1)

	const webUID = "8f14e45f-ceea-467f-a8b0-5a1d3c2b1e01"
	// Ids of the fixture: a letter, a number, zeros, the number again.
	id := func(letter string, n int) string { return fmt.Sprintf("%s%d%061d%d", letter, n, 0, n) }
	addresses := []netip.Addr{netip.MustParseAddr("10.244.1.17"), netip.MustParseAddr("fd00:10:244:1::11")}
	web := func(id, name string, c entity.Container) *entity.Container {
		c.ID, c.Runtime = id, "containerd"
		c.Pod = &entity.PodRef{UID: webUID, Name: "web-7d4b9c6f5d-x2k8p", Namespace: "shop", Container: name}
		return &c
	}
	front := entity.Container{Command: "/usr/sbin/nginx", Env: map[string]string{"OTEL_SERVICE_NAME": "front"},
		Image: entity.Image{Name: "nginx", Tags: []string{"1.25"}, Digests: []string{"docker.io/library/nginx@sha256:" + strings.Repeat("2", 64)}}}
	at := func(hour, minute, second int) time.Time {
		return time.Date(2026, 3, 2, hour, minute, second, 0, time.UTC)
	}
	front.Created = at(9, 20, 0)
	// Of a pod with several containers nobody has the address.
	want := map[string]*entity.Container{
		id("a", 2): web(id("a", 2), "front", front),
		id("a", 4): web(id("a", 4), "side", entity.Container{Created: at(9, 14, 20), Image: entity.Image{Name: "registry.example.org/shop/side",
			ID: "sha256:" + strings.Repeat("3", 64)}}),
		id("a", 5): web(id("a", 5), "debugger", entity.Container{Image: entity.Image{Name: "docker.io/library/busybox",
			Tags: []string{"latest"}, Digests: []string{"docker.io/library/busybox@sha256:" + strings.Repeat("5", 64)}}}),
		id("b", 1): {ID: id("b", 1), Runtime: "cri-o", Created: time.Date(2026, 3, 1, 0, 0, 1, 0, time.UTC), Image: entity.Image{Name: "registry.example.org/etcd", Tags: []string{"3.5"}},
			Pod: &entity.PodRef{UID: "0f3e5c9a-1b6d-4f0e-9a75-6a3c1e7d2b02", Name: "etcd-node-1", Namespace: "kube-system", Container: "etcd"}},
		id("c", 1): {ID: id("c", 1), Runtime: "docker", Created: at(10, 0, 0), Addresses: []netip.Addr{netip.MustParseAddr("10.244.1.18")},
			Image: entity.Image{Name: "postgres", Digests: []string{"postgres@sha256:" + strings.Repeat("6", 64)}},
			Pod:   &entity.PodRef{UID: "2b9d7f31-8c4e-4a6f-bd15-7e5f4d3c2b04", Name: "db-0", Namespace: "shop", Container: "db"}},
	}
	for _, ended := range []string{id("a", 1), id("a", 3)} {
		if p, g := sink.Count("put kubelet "+ended), sink.Count("gone kubelet "+ended); p != 1 || g != 1 {
			t.Errorf("%s has ended and was told %d times and gone %d times", ended, p, g)
		}
	}
	if diff := cmp.Diff(want, sink.Containers(), compareEntity); diff != "" {
		t.Errorf("containers: -want +got\n%s", diff)
	}
	checkPods(t, sink, addresses)
}

func checkPods(t *testing.T, sink *sinktest.Recorder, addresses []netip.Addr) {
	t.Helper()
	const hash = "5b8e1f2a3c4d5e6f708192a3b4c5d6e7"
	static := entity.Pod{UID: "0f3e5c9a-1b6d-4f0e-9a75-6a3c1e7d2b02", Name: "etcd-node-1", Namespace: "kube-system", Node: "node-1",
		Annotations: map[string]string{"kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash, "kubernetes.io/config.source": "file"}}
	twin := static
	twin.UID = hash
	pods := []*entity.Pod{
		&static, &twin,
		{UID: "8f14e45f-ceea-467f-a8b0-5a1d3c2b1e01", Name: "web-7d4b9c6f5d-x2k8p", Namespace: "shop", Node: "node-1",
			Labels: map[string]string{"app": "web", "pod-template-hash": "7d4b9c6f5d"},
			Annotations: map[string]string{"kubernetes.io/config.seen": "2026-03-02T09:14:07.118Z",
				"kubernetes.io/config.source": "api", "team": "blue"},
			Owners: entity.Owners{ReplicaSet: "web-7d4b9c6f5d", Deployment: "web"}, Addresses: addresses},
		{UID: "6d0c2c7e-55aa-4b1f-8e0d-0c9b8a7f6e03", Name: "backup-29540160-7xk2m", Namespace: "jobs", Node: "node-1",
			Owners: entity.Owners{Job: "backup-29540160", CronJob: "backup"}},
		{UID: "2b9d7f31-8c4e-4a6f-bd15-7e5f4d3c2b04", Name: "db-0", Namespace: "shop", Node: "node-1",
			Owners: entity.Owners{StatefulSet: "db"}, Addresses: []netip.Addr{netip.MustParseAddr("10.244.1.18")}},
	}
	want := make(map[string]*entity.Pod)
	for _, p := range pods {
		want[p.UID] = p
	}
	if diff := cmp.Diff(want, sink.Pods(), compareEntity); diff != "" {
		t.Errorf("pods: -want +got\n%s", diff)
	}
}

// TestChanges: what changes is told, what does not is not told again.
func TestChanges(t *testing.T) {
	f := newFake(t, list("1", "2"))
	options := f.options()
	options.Interval = 10 * time.Millisecond
	_, sink := run(t, options)
	sink.Await(t, "up kubelet", 1)
	sink.AwaitContainers(t, "c-1", "c-2")
	f.waitAsked(t, f.count()+3)
	f.change(func() { f.body = list("2", "3") })
	sink.AwaitContainers(t, "c-2", "c-3")
	if sink.Pod("1") != nil || sink.Pod("3") == nil {
		t.Errorf("pods: %v", sink.Pods())
	}
	if n := sink.Count("put kubelet c-2"); n != 1 {
		t.Errorf("an unchanged container was told %d times", n)
	}
	f.change(func() { f.body = strings.Replace(list("2", "3"), "pod-2", "renamed", 1) })
	testkit.Eventually(t, soon, func() error {
		if got := sink.Container("c-2").Pod.Name; got != "renamed" {
			return fmt.Errorf("pod is %s", got)
		}
		return nil
	})
	f.change(func() { f.body = list() })
	sink.AwaitContainers(t)
	if downs := sink.Downs(); len(downs) > 0 {
		t.Errorf("down: %v", downs)
	}
}

func TestWant(t *testing.T) {
	f := newFake(t, list("1"))
	source, sink := run(t, f.options())
	sink.Await(t, "up kubelet", 1)
	f.change(func() { f.body = list("1", "2") })
	source.Want("c-2", "")
	source.Want("nobody", "")
	sink.AwaitContainers(t, "c-1", "c-2")
	testkit.Eventually(t, soon, func() error {
		if sink.Count("absent kubelet nobody") != 1 || sink.Count("absent kubelet c-2") != 0 {
			return errors.New("nobody is not absent, or c-2 is")
		}
		return nil
	})
	// The container of a known pod that is not in its status yet is looked for
	// some times more, without the interval.
	before := f.count()
	source.Want("c-late", "2")
	f.waitAsked(t, before+1)
	f.change(func() {
		f.body = strings.Replace(list("1", "2"), `"containerID":"containerd://c-2"`,
			`"containerID":"containerd://c-2"},{"name":"late","containerID":"containerd://c-late"`, 1)
	})
	sink.AwaitContainers(t, "c-1", "c-2", "c-late")
	f.change(func() {
		for i := 1; i < len(f.times); i++ {
			if gap := f.times[i].Sub(f.times[i-1]); gap < 900*time.Millisecond {
				t.Errorf("asked again after %v", gap)
			}
		}
	})
}

// TestTokenRotation: the file is read again, so a new token is used with the
// next request, and a refused one is in no error.
func TestTokenRotation(t *testing.T) {
	f := newFake(t, list("1"))
	source, sink := run(t, f.options())
	sink.Await(t, "up kubelet", 1)
	f.change(func() { f.token, f.body = "second-token", list("1", "2") })
	require.NoError(t, os.WriteFile(f.tokenFile, []byte("second-token"), 0o600))
	source.Want("c-2", "")
	sink.AwaitContainers(t, "c-1", "c-2")
	f.change(func() {
		want := []string{"Bearer first-token", "Bearer second-token"}
		if got := slices.Compact(slices.Clone(f.seen)); !slices.Equal(got, want) {
			t.Errorf("tokens were %q", got)
		}
		f.token = "third-token"
	})
	source.Want("c-3", "")
	why := sink.AwaitDown(t, "kubelet", 1)
	if !strings.Contains(why.Error(), "401") || strings.Contains(why.Error(), "second-token") {
		t.Errorf("down because of %v", why)
	}
}

func TestRefusals(t *testing.T) {
	f := func(change func(*fake, *kubelet.Options), want string) {
		t.Helper()
		k := newFake(t, list("1"))
		options := k.options()
		change(k, &options)
		_, sink := run(t, options)
		if why := sink.AwaitDown(t, "kubelet", 1); !strings.Contains(why.Error(), want) || strings.Contains(why.Error(), k.token) {
			t.Errorf("down because of %q, want %q and not the token", why, want)
		}
		if ups := sink.Count("up kubelet"); ups != 0 {
			t.Errorf("%s: up", want)
		}
	}
	answer := func(text string) func(*fake, *kubelet.Options) {
		return func(k *fake, _ *kubelet.Options) { k.body = text }
	}
	f(func(k *fake, _ *kubelet.Options) { k.status = http.StatusForbidden }, "nodes/pods")
	f(func(k *fake, _ *kubelet.Options) { k.status = http.StatusInternalServerError }, "500")
	f(func(k *fake, _ *kubelet.Options) { k.token = "other" }, "not accepted")
	f(func(_ *fake, o *kubelet.Options) { o.CAFile = "" }, "certificate")
	f(func(_ *fake, o *kubelet.Options) { o.TokenFile = "/nowhere/token" }, "read token")
	f(func(k *fake, _ *kubelet.Options) {
		k.serve = func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/pods", http.StatusFound)
		}
	}, "302")
	f(answer("<html>"), "parse pods")
	f(answer(list("1")[:90]), "parse pod")
	f(func(k *fake, _ *kubelet.Options) {
		k.serve = func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"items":[`))
			block := []byte(strings.Repeat(" ", 1<<20))
			for range 65 {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}
	}, "more than")
	f(func(k *fake, _ *kubelet.Options) {
		k.serve = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"items":[`))
		}
	}, "read the kubelet's answer")
}

// TestSlow: a kubelet that never finishes its answer is down after the timeout,
// and up when it does.
func TestSlow(t *testing.T) {
	f := newFake(t, list("1"))
	f.serve = func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`{"items":[`))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	options := f.options()
	options.Timeout = 100 * time.Millisecond
	_, sink := run(t, options)
	if why := sink.AwaitDown(t, "kubelet", 1); !os.IsTimeout(errors.Unwrap(why)) {
		t.Errorf("down because of %v", why)
	}
	f.change(func() { f.serve = nil })
	sink.Await(t, "up kubelet", 1)
	sink.AwaitContainers(t, "c-1")
}

// TestOutage: what was told is told again after it, and what went is gone.
func TestOutage(t *testing.T) {
	f := newFake(t, list("1", "2"))
	source, sink := run(t, f.options())
	sink.Await(t, "up kubelet", 1)
	f.change(func() {
		f.serve = func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil { // HTTP/2
				panic(http.ErrAbortHandler)
			}
			_ = conn.Close()
		}
	})
	source.Want("x", "")
	_ = sink.AwaitDown(t, "kubelet", 1)
	f.waitAsked(t, f.count()+2)
	f.change(func() { f.serve, f.body = nil, list("1") })
	sink.Await(t, "up kubelet", 2)
	sink.AwaitContainers(t, "c-1")
	if n := sink.Count("put kubelet c-1"); n != 2 {
		t.Errorf("told %d times, want once per connection", n)
	}
	if downs := sink.Count("down kubelet"); downs != 1 {
		t.Errorf("down %d times in one outage", downs)
	}
	if sink.Count("absent kubelet x") != 1 {
		t.Error("what was wanted during the outage was not answered")
	}
}

// TestPlain: the read-only port gets no token.
func TestPlain(t *testing.T) {
	f := newFake(t, list("1"))
	seen := make(chan string, 8)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get("Authorization")
		_, _ = w.Write([]byte(f.body))
	}))
	t.Cleanup(plain.Close)
	options := f.options()
	options.Endpoint = plain.URL
	_, sink := run(t, options)
	sink.AwaitContainers(t, "c-1")
	if got := <-seen; got != "" {
		t.Errorf("the token was sent in plain text: %q", got)
	}
}
