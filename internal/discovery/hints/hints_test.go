package hints_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/internal/discovery/hints"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

type labels = map[string]string

const (
	metrics = "io.opentelemetry.discovery.metrics"
	logs    = "io.opentelemetry.discovery.logs"
)

var id = strings.Repeat("0a", 32)

func container(l labels) *target.Target {
	listener := func(port uint16) target.Listener {
		return target.Listener{Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), port), Protocol: target.TCP}
	}
	return &target.Target{
		ID: id, Name: "web", Runtime: "docker", Labels: l, Resource: labels{"container.id": id},
		Addresses:    []target.Address{{IP: netip.MustParseAddr("172.17.0.2")}},
		Listening:    []target.Listener{listener(80), listener(6379), listener(9100)},
		Technologies: []target.Technology{{Name: "redis", Port: 6379, Confidence: target.Certain, Receiver: "redis"}},
	}
}

// short is a spec in a line: what, where, and its configuration.
func short(r hints.Result) []string {
	var all []string
	for _, s := range r.Specs {
		all = append(all, fmt.Sprintf("%s at %d for %s: %v", s.Receiver, s.Port, s.Signals, s.Config))
	}
	return all
}

func TestMetrics(t *testing.T) {
	f := func(name string, l labels, want ...string) {
		t.Helper()
		got := hints.Read(container(l), hints.Options{})
		if diff := cmp.Diff(want, short(got)); diff != "" || len(got.Problems) > 0 {
			t.Errorf("%s: %v %s", name, got.Problems, diff)
		}
	}
	f("none", nil)
	f("not enabled", labels{metrics + "/scraper": "nginx"})
	f("first port", labels{metrics + "/enabled": "true", metrics + "/scraper": "nginx"}, "nginx at 80 for metrics: map[endpoint:http://172.17.0.2:80/status]")
	f("the port of the technology", labels{metrics + "/enabled": "true", metrics + "/scraper": "redis/x"}, "redis/x at 6379 for metrics: map[]")
	f("one port", labels{metrics + ".9100/enabled": "true", metrics + ".9100/scraper": "nginx"}, "nginx at 9100 for metrics: map[endpoint:http://172.17.0.2:9100/status]")
	f("two ports", labels{
		metrics + ".9100/enabled": "true", metrics + ".9100/scraper": "nginx",
		metrics + ".80/enabled": "true", metrics + ".80/scraper": "apache",
	}, "apache at 80 for metrics: map[]", "nginx at 9100 for metrics: map[endpoint:http://172.17.0.2:9100/status]")
	f("values without a port stand in", labels{
		metrics + ".9100/enabled": "true", metrics + "/scraper": "nginx", metrics + "/config": "timeout: 5s",
	}, "nginx at 9100 for metrics: map[endpoint:http://172.17.0.2:9100/status timeout:5s]")
	f("one port off", labels{
		metrics + "/enabled": "true", metrics + "/scraper": "nginx", metrics + ".9100/enabled": "false",
	}, "nginx at 80 for metrics: map[endpoint:http://172.17.0.2:80/status]")
	f("configuration", labels{metrics + "/enabled": "true", metrics + "/scraper": "apache", metrics + "/config": `
endpoint: "http://` + "`endpoint`" + `/nginx_status"
collection_interval: "20s"
deep: {port: "` + "`port`" + `", list: [1, true, "` + "`name`" + `!"]}
`}, "apache at 80 for metrics: map[collection_interval:20s deep:map[list:[1 true web!] port:80] endpoint:http://172.17.0.2:80/nginx_status]")
	f("its own address in full", labels{metrics + "/enabled": "true", metrics + "/scraper": "nginx", metrics + "/config": "endpoint: http://172.17.0.2:80/x"},
		"nginx at 80 for metrics: map[endpoint:http://172.17.0.2:80/x]")
	f("the port of the scheme", labels{metrics + "/enabled": "true", metrics + "/scraper": "nginx", metrics + "/config": "endpoint: http://`host`/nginx_status"},
		"nginx at 80 for metrics: map[endpoint:http://172.17.0.2/nginx_status]")
	f("both signals", labels{metrics + "/enabled": "true", metrics + "/scraper": "nginx", metrics + "/signals": "logs,metrics"},
		"nginx at 80 for metrics,logs: map[endpoint:http://172.17.0.2:80/status]")
	f("prometheus by scraper", labels{metrics + ".9100/enabled": "true", metrics + ".9100/scraper": "prometheus", metrics + ".9100/config": "collection_interval: 30s"},
		strings.Replace(scrape("", 9100), "scrape_interval:3s", "scrape_interval:30s", 1))
}

// scrape is what a job looks like, with more between its name and its limits.
func scrape(more string, port int) string {
	return fmt.Sprintf("prometheus at %d for metrics: map[config:map[scrape_configs:[map[body_size_limit:4MiB follow_redirects:false job_name:web "+
		"label_limit:128 label_name_length_limit:256 label_value_length_limit:4096 %ssample_limit:20000 scrape_interval:3s "+
		"static_configs:[map[labels:map[instance:web:%d] targets:[172.17.0.2:%d]]]]]]]", port, more, port, port)
}

func TestPrometheus(t *testing.T) {
	f := func(l labels, want ...string) {
		t.Helper()
		got := hints.Read(container(l), hints.Options{})
		if diff := cmp.Diff(want, short(got)); diff != "" || len(got.Problems) > 0 {
			t.Errorf("%v: %v %s", l, got.Problems, diff)
		}
	}
	f(labels{"prometheus.io/scrape": "false"})
	f(labels{"prometheus.io/port": "9100"})
	f(labels{"prometheus.io/scrape": "true"}, scrape("", 80))
	f(labels{"prometheus.io/scrape": "true", "prometheus.io/port": "9100", "prometheus.io/path": "/m"}, scrape("metrics_path:/m ", 9100))
	f(labels{"prometheus.io/scrape": "true", "prometheus.io/port": "9100", "prometheus.io/scheme": "https"}, strings.Replace(scrape("", 9100), "scrape_interval:3s", "scheme:https scrape_interval:3s", 1))
}

// With a timeout above the interval Prometheus does not start.
func TestScrapeTimeout(t *testing.T) {
	f := func(config, interval, timeout string) {
		t.Helper()
		got := hints.Read(container(scraper("prometheus", config)), hints.Options{})
		want := strings.Replace(scrape("", 80), "scrape_interval:3s", "scrape_interval:"+interval+" scrape_timeout:"+timeout, 1)
		if diff := cmp.Diff([]string{want}, short(got)); diff != "" || len(got.Problems) > 0 {
			t.Errorf("%s: %v %s", config, got.Problems, diff)
		}
	}
	f("timeout: 2s", "3s", "2s")
	f("timeout: 3500ms", "3500ms", "3500ms")
	f("scrape_timeout: 10s", "10s", "10s")
	f("scrape_timeout: 1.5s", "3s", "1500ms") // 1.5s is no duration there
	f("scrape_timeout: +4s500000us", "4500ms", "4500ms")
	f("scrape_timeout: 5s\ncollection_interval: 5s", "5s", "5s")
}

func TestOff(t *testing.T) {
	got := hints.Read(container(labels{
		hints.Ignore: "true", "prometheus.io/scrape": "true", metrics + "/enabled": "true", metrics + "/scraper": "x"}), hints.Options{})
	if diff := cmp.Diff(hints.Result{Ignored: true}, got); diff != "" {
		t.Error(diff)
	}
	if got = hints.Read(container(labels{metrics + "/enabled": "false"}), hints.Options{}); got.Off != spec.Metrics {
		t.Errorf("off: %v", got.Off)
	}
	if got = hints.Read(container(labels{logs + "/enabled": "false"}), hints.Options{}); got.Off != spec.Logs {
		t.Errorf("off: %v", got.Off)
	}
	if got = hints.Read(container(labels{metrics + ".80/enabled": "false"}), hints.Options{}); got.Off != 0 {
		t.Errorf("one port is off: %v", got.Off)
	}
}

// Who has written something else than "false" is left alone, and told.
func TestUnreadableOptOut(t *testing.T) {
	for _, value := range []string{"True", "1", "yes", "", "***", " true", strings.Repeat("x", 20000)} {
		got := hints.Read(container(labels{hints.Ignore: value, metrics + "/enabled": "true", metrics + "/scraper": "x"}), hints.Options{})
		if !got.Ignored || len(got.Specs) > 0 || len(got.Problems) != 1 || !strings.HasSuffix(got.Problems[0].Err.Error(), "; it counts as true") {
			t.Errorf("ignore %.10q: %.300v", value, got)
		}
	}
	if got := hints.Read(container(labels{hints.Ignore: "false"}), hints.Options{}); got.Ignored || len(got.Problems) > 0 {
		t.Errorf("ignore false: %v", got)
	}
	for base, off := range map[string]spec.Signals{metrics: spec.Metrics, logs: spec.Logs} {
		got := hints.Read(container(labels{base + "/enabled": "False"}), hints.Options{})
		if got.Off != off || len(got.Problems) != 1 || !strings.HasSuffix(got.Problems[0].Err.Error(), "; it counts as false") {
			t.Errorf("%s: %v", base, got)
		}
	}
}

// What is not there yet is no mistake.
func TestWaiting(t *testing.T) {
	got := hints.Read(container(labels{metrics + ".8080/enabled": "true", metrics + ".8080/scraper": "nginx"}), hints.Options{})
	if len(got.Waiting) != 1 || len(got.Specs)+len(got.Problems) > 0 || !strings.Contains(got.Waiting[0], "port 8080") {
		t.Errorf("%+v", got)
	}
	fresh := container(labels{"prometheus.io/scrape": "true"})
	fresh.Listening = nil
	if got = hints.Read(fresh, hints.Options{}); len(got.Waiting) != 1 || len(got.Specs) > 0 {
		t.Errorf("%+v", got)
	}
}

// In the host's network only what the container was seen to open is its own.
func TestHostNetwork(t *testing.T) {
	one := container(labels{metrics + ".22/enabled": "true", metrics + ".22/scraper": "x"})
	one.HostNetwork, one.Addresses = true, nil
	one.Ports = []target.Port{{Number: 22, Protocol: target.TCP}}
	if got := hints.Read(one, hints.Options{}); len(got.Specs) > 0 {
		t.Errorf("%v", short(got))
	}
	one.Listening = nil // sockets unknown: the announcement still is no proof
	if got := hints.Read(one, hints.Options{}); len(got.Specs) > 0 {
		t.Errorf("%v", short(got))
	}
}

// What docker_filter has masked is told as that, wherever it stood.
func TestMasked(t *testing.T) {
	on := func(key string) labels {
		l := labels{
			metrics + "/enabled": "true", metrics + "/scraper": "nginx", metrics + "/config": "collection_interval: 10s",
			logs + "/enabled": "true", logs + "/config": "start_at: end",
		}
		l[key] = "***"
		return l
	}
	for _, key := range []string{"/enabled", "/scraper", "/config", "/signals"} {
		got := hints.Read(container(on(metrics+key)), written())
		checkMasked(t, got, metrics, metrics+key)
	}
	for _, key := range []string{"/enabled", "/config"} {
		checkMasked(t, hints.Read(container(on(logs+key)), written()), logs, logs+key)
	}
}

func checkMasked(t *testing.T, got hints.Result, rule, key string) {
	t.Helper()
	want := "read " + key + ": was masked by docker_filter: it looks like a secret, or has more than 255 bytes (put it into a rule, secrets by environment or file)"
	if strings.HasSuffix(key, "/enabled") {
		want += "; it counts as false"
	}
	if len(got.Problems) != 1 || got.Problems[0].Rule != rule || got.Problems[0].Err.Error() != want {
		t.Errorf("%s: %v, want %s", key, got.Problems, want)
	}
	if len(got.Specs) != 1 || strings.HasPrefix(got.Specs[0].Rule, rule) {
		t.Errorf("%s: %v", key, short(got))
	}
}

// Annotations are those of a pod, and each of its containers is read with them: what
// names a port means who listens there, what names none means each with a port.
func TestContainersOfAPod(t *testing.T) {
	in := func(name string, ports ...uint16) *target.Target {
		one := container(nil)
		one.Name, one.Runtime, one.Listening, one.Technologies = name, "containerd", nil, nil
		for _, port := range ports {
			one.Listening = append(one.Listening, target.Listener{Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), port), Protocol: target.TCP})
		}
		one.Resource = labels{"k8s.pod.uid": "u-1"}
		one.PodName, one.PodNamespace, one.PodContainer = "web-0", "shop", name
		one.Annotations = labels{
			metrics + ".9100/enabled": "true", metrics + ".9100/scraper": "prometheus",
			metrics + "/enabled": "true", metrics + "/scraper": "nginx",
			logs + ".web/enabled": "true",
		}
		return one
	}
	f := func(one *target.Target, want ...string) {
		t.Helper()
		got := hints.Read(one, written())
		var all []string
		for _, s := range got.Specs {
			all = append(all, fmt.Sprintf("%s at %d", s.Receiver, s.Port))
		}
		if diff := cmp.Diff(want, all); diff != "" || len(got.Problems) > 0 {
			t.Errorf("%s: %v %s", one.Name, got.Problems, diff)
		}
	}
	f(in("web", 80), "nginx at 80", "file_log at 0")
	f(in("exporter", 9100), "prometheus at 9100", "nginx at 9100")
	f(in("worker"))
	got := hints.Read(in("web", 80), written())
	files := got.Specs[1].Config["include"]
	if diff := cmp.Diff([]any{"/var/log/pods/shop_web-0_u-1/web/*.log"}, files); diff != "" {
		t.Error(diff)
	}
}

func TestSpecOfALabel(t *testing.T) {
	got := hints.Read(container(labels{metrics + ".80/enabled": "true", metrics + ".80/scraper": "nginx"}), hints.Options{})
	want := []spec.Spec{{
		Rule: metrics + ".80", Receiver: "nginx", Config: map[string]any{"endpoint": "http://172.17.0.2:80/status"}, Endpoint: "172.17.0.2:80", Port: 80, Signals: spec.Metrics,
		Target: id, Resource: labels{"container.id": id}, Why: "asked for by " + metrics + ".80 at 172.17.0.2:80",
	}}
	if diff := cmp.Diff(want, got.Specs); diff != "" {
		t.Error(diff)
	}
}

func TestManyScopes(t *testing.T) {
	l := labels{}
	for port := range 40 {
		l[fmt.Sprintf("%s.%d/enabled", metrics, port+1)] = "true"
	}
	l[metrics+"/scraper"] = "x"
	got := hints.Read(container(l), hints.Options{})
	if len(got.Waiting) != 4 || len(got.Problems) != 1 {
		t.Errorf("%d waiting, %v", len(got.Waiting), got.Problems)
	}
}

// What has its own name or job keeps it; what we made up is no name of a service, and
// the series are the container's, whatever its address.
func TestInstance(t *testing.T) {
	// said is what a spec says: job, instance and what is dropped.
	type said struct {
		job, instance string
		drop          labels
	}
	f := func(name, config string, change func(*target.Target), want said) {
		t.Helper()
		one := container(labels{metrics + ".80/enabled": "true", metrics + ".80/scraper": "prometheus", metrics + ".80/config": config})
		change(one)
		got := hints.Read(one, hints.Options{})
		if len(got.Specs) != 1 {
			t.Fatalf("%s: %v", name, got.Problems)
		}
		inner := got.Specs[0].Config["config"].(map[string]any)["scrape_configs"].([]any)[0].(map[string]any)
		instance := inner["static_configs"].([]any)[0].(map[string]any)["labels"].(map[string]any)["instance"]
		is := said{inner["job_name"].(string), instance.(string), got.Specs[0].Drop}
		if diff := cmp.Diff(want, is, cmp.AllowUnexported(said{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	none := func(*target.Target) {}
	f("the container's name", "", none, said{"web", "web:80", labels{"service.name": "web"}})
	f("another address", "", func(o *target.Target) { o.Addresses[0].IP = netip.MustParseAddr("172.17.0.9") }, said{"web", "web:80", labels{"service.name": "web"}})
	f("a pod", "", func(o *target.Target) { o.PodName = "web-0" }, said{"web", "web-0:80", labels{"service.name": "web"}})
	f("a label that names a pod", "", func(o *target.Target) { o.Labels["io.kubernetes.pod.name"] = "other" }, said{"web", "web:80", labels{"service.name": "web"}})
	f("no name", "", func(o *target.Target) { o.Name = "" }, said{id, id[:12] + ":80", labels{"service.name": id}})
	f("its own", "instance: a\njob_name: web", none, said{"web", "a", nil})
	one := container(labels{"prometheus.io/scrape": "true"})
	if got := hints.Read(one, hints.Options{}); len(got.Specs) != 1 || !cmp.Equal(labels{"service.name": "web"}, got.Specs[0].Drop) {
		t.Errorf("prometheus.io: %+v", got)
	}
}

// What is asked by HTTP is at TCP, also where UDP was seen and TCP only announced.
func TestTCPFirst(t *testing.T) {
	f := func(receiver, port string, change func(*target.Target), want string) {
		t.Helper()
		one := container(labels{metrics + port + "/enabled": "true", metrics + port + "/scraper": receiver})
		one.Technologies = nil
		one.Listening = []target.Listener{{Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), 53), Protocol: target.UDP}}
		one.Ports = []target.Port{{Number: 53, Protocol: target.TCP}, {Number: 8080, Protocol: target.TCP}}
		change(one)
		got := hints.Read(one, hints.Options{})
		if text := strings.Join(short(got), " "); !strings.HasPrefix(text, want) || want == "" && (text != "" || len(got.Waiting) != 1) {
			t.Errorf("%s: %s %v, want %q", receiver, text, got.Waiting, want)
		}
	}
	none := func(*target.Target) {}
	f("nginx", "", none, "nginx at 53 ")
	f("nginx", ".53", none, "nginx at 53 ")
	f("nginx", "", func(o *target.Target) { o.Ports = o.Ports[1:] }, "nginx at 8080 ")
	f("dns", "", func(o *target.Target) { o.Ports = o.Ports[1:] }, "dns at 8080 ")
	f("dns", "", func(o *target.Target) { o.Ports = nil }, "dns at 53 ")
	f("nginx", ".53", func(o *target.Target) { o.Ports = nil }, "")
	f("prometheus", "", func(o *target.Target) { o.Ports = nil }, "")
	f("nginx", ".53", func(o *target.Target) { o.HostNetwork, o.Addresses = true, nil }, "")
}
