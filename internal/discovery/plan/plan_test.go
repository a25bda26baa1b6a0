package plan_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/internal/discovery/plan"
	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

const id = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// web is a container that listens at 80 and 9100, with these labels: key, value.
func web(labels ...string) *target.Target {
	t := &target.Target{
		ID: id, Name: "web", Runtime: "docker", State: "running",
		Labels:       map[string]string{},
		Addresses:    []target.Address{{Network: "bridge", IP: netip.MustParseAddr("172.17.0.2")}},
		Technologies: []target.Technology{{Name: "nginx", Port: 80, Confidence: target.Certain, Receiver: "nginx"}},
		Resource:     map[string]string{"container.id": id},
	}
	for _, port := range []uint16{80, 9100} {
		t.Listening = append(t.Listening, target.Listener{Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), port), Protocol: target.TCP})
	}
	for i := 0; i < len(labels); i += 2 {
		t.Labels[labels[i]] = labels[i+1]
	}
	return t
}

const metrics = "io.opentelemetry.discovery.metrics"

func nginxRule() rules.Config {
	return rules.Config{Name: "status", Rule: `technology == "nginx"`, Receiver: "nginx"}
}

func newPlan(t *testing.T, change func(*plan.Config)) *plan.Plan {
	t.Helper()
	c := plan.DefaultConfig()
	c.Rules = []rules.Config{nginxRule()}
	if change != nil {
		change(&c)
	}
	p, err := plan.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// told is a verdict in short lines.
func told(v plan.Verdict) []string {
	var all []string
	for _, s := range v.Specs {
		all = append(all, s.Rule+" "+s.Receiver+" "+s.Endpoint+" "+s.Signals.String())
	}
	for _, r := range v.Refused {
		who := "rule "
		if r.Label {
			who = "label "
		}
		all = append(all, "refused "+who+r.Rule+" "+r.Receiver)
	}
	for _, w := range v.Waiting {
		all = append(all, "waiting "+w)
	}
	if v.Ignored {
		all = append(all, "ignored")
	}
	return all
}

func TestOf(t *testing.T) {
	f := func(name string, change func(*plan.Config), container *target.Target, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, told(newPlan(t, change).Of(container))); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	const rule = "status nginx 172.17.0.2:80 metrics,logs"
	asking := []string{metrics + "/enabled", "true", metrics + "/scraper", "nginx"}
	f("a rule", nil, web(), rule)
	f("a label in its place", nil, web(asking...), metrics+" nginx 172.17.0.2:80 metrics")
	f("labels count for nothing", func(c *plan.Config) { c.Labels = false }, web(asking...), rule)
	f("nothing is recognised", func(c *plan.Config) { c.Recognise = false }, web())
	f("a label for another port is no replacement", nil,
		web(metrics+".9100/enabled", "true", metrics+".9100/scraper", "nginx"),
		metrics+".9100 nginx 172.17.0.2:9100 metrics", rule)
	f("a label that is refused is none", func(c *plan.Config) { c.AllowReceivers = nil }, web(asking...),
		rule, "refused label "+metrics+" nginx")
	f("everything is allowed", func(c *plan.Config) { c.AllowReceivers, c.Rules = []string{"*"}, nil },
		web(metrics+"/enabled", "true", metrics+"/scraper", "redis"), metrics+" redis 172.17.0.2:80 metrics")
	f("a name of before", func(c *plan.Config) { c.AllowReceivers = []string{"file_log", "ng_inx"} }, web(asking...),
		metrics+" nginx 172.17.0.2:80 metrics")
	f("what is not there yet", nil, web(metrics+".81/enabled", "true", metrics+".81/scraper", "nginx"),
		rule, "waiting "+metrics+".81: nothing listens at port 81")
	f("a label that makes no sense", nil, web(metrics+".80/enabled", "maybe"), rule, "refused label "+metrics+".80 ")
	f("and is not heeded", func(c *plan.Config) { c.Labels = false }, web(metrics+".80/enabled", "maybe"), rule)
}

// Opt-outs count, also where labels start nothing. What the container asks for
// itself stays.
func TestOptOut(t *testing.T) {
	f := func(labels bool, container *target.Target, want ...string) {
		t.Helper()
		p := newPlan(t, func(c *plan.Config) { c.Labels = labels })
		if d := cmp.Diff(want, told(p.Of(container))); d != "" {
			t.Errorf("%v: %s", container.Labels, d)
		}
	}
	f(true, web("io.opentelemetry.discovery/ignore", "true"), "ignored")
	f(false, web("io.opentelemetry.discovery/ignore", "true"), "ignored")
	// One that cannot be read counts, and is told.
	const logs = "io.opentelemetry.discovery.logs"
	for _, labels := range []bool{true, false} {
		f(labels, web("io.opentelemetry.discovery/ignore", "True"), "refused label io.opentelemetry.discovery ", "ignored")
		f(labels, web(metrics+"/enabled", "maybe"), "status nginx 172.17.0.2:80 logs", "refused label "+metrics+" ")
		f(labels, web(logs+"/enabled", "0"), "status nginx 172.17.0.2:80 metrics", "refused label "+logs+" ")
	}
	f(true, web(metrics+"/enabled", "false"), "status nginx 172.17.0.2:80 logs")
	f(false, web(metrics+"/enabled", "false"), "status nginx 172.17.0.2:80 logs")
	f(true, web(metrics+"/enabled", "false", logs+"/enabled", "false"))
	f(true, web(metrics+"/enabled", "false", "prometheus.io/scrape", "true"), "status nginx 172.17.0.2:80 logs")
	f(true, web(metrics+"/enabled", "false", metrics+".9100/enabled", "true", metrics+".9100/scraper", "prometheus"),
		metrics+".9100 prometheus 172.17.0.2:9100 metrics", "status nginx 172.17.0.2:80 logs")
}

// A rule that does not get along with a container is refused with its receiver, and
// the others go on.
func TestProblem(t *testing.T) {
	p := newPlan(t, func(c *plan.Config) {
		c.Rules = append(c.Rules, rules.Config{Name: "odd", Rule: "port == 80", Receiver: "prometheus", Config: map[string]any{"port": "`int(labels[\"absent\"])`"}})
	})
	v := p.Of(web())
	want := []string{"status nginx 172.17.0.2:80 metrics,logs", "refused rule odd prometheus"}
	if d := cmp.Diff(want, told(v)); d != "" {
		t.Error(d)
	}
}

// The target is another's: what is taken off for rules is taken off a copy.
func TestTargetIsNotChanged(t *testing.T) {
	container := web()
	v := newPlan(t, func(c *plan.Config) { c.Recognise = false }).Of(container)
	if len(v.Target.Technologies) != 0 || len(container.Technologies) != 1 {
		t.Errorf("rules saw %v, the target has %v", v.Target.Technologies, container.Technologies)
	}
}

// What a label may not start is said with the list and the way out.
func TestNotAllowed(t *testing.T) {
	v := newPlan(t, nil).Of(web(metrics+"/enabled", "true", metrics+"/scraper", "redis/x"))
	if len(v.Refused) != 1 || !errors.Is(v.Refused[0].Err, plan.ErrNotAllowed) {
		t.Fatalf("%+v", v.Refused)
	}
	const want = `receiver "redis" may not be started by a label (allow_receivers: prometheus, nginx, file_log; add it there, or write a rule)`
	if d := cmp.Diff(want, v.Refused[0].Err.Error()); d != "" {
		t.Error(d)
	}
}

// Files are looked for where the host's root is, or where the operator says that
// Docker's data is. One that is not there is waited for.
func TestLogFiles(t *testing.T) {
	root := t.TempDir()
	below := filepath.Join("containers", id, id+"-json.log")
	for _, docker := range []string{"var/lib/docker", "data"} {
		file := filepath.Join(root, docker, below)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	f := func(change func(*plan.Config), want string) {
		t.Helper()
		v := newPlan(t, func(c *plan.Config) { c.Rules = nil; change(c) }).Of(web("io.opentelemetry.discovery.logs/enabled", "true"))
		if want == "" {
			if len(v.Specs) > 0 || len(v.Waiting) != 1 || !v.Again {
				t.Errorf("%+v", v)
			}
			return
		}
		if len(v.Specs) != 1 || v.Again {
			t.Fatalf("%v", told(v))
		}
		if d := cmp.Diff([]any{filepath.Join(want, below)}, v.Specs[0].Config["include"]); d != "" {
			t.Error(d)
		}
	}
	f(func(c *plan.Config) { c.RootPath = root }, filepath.Join(root, "var/lib/docker"))
	f(func(c *plan.Config) { c.RootPath, c.DockerRoot = "/nowhere", filepath.Join(root, "data") }, filepath.Join(root, "data"))
	f(func(c *plan.Config) { c.RootPath = "/nowhere" }, "")
}

// All mistakes come at once, each on a line of its own that says where it is.
func TestNew(t *testing.T) {
	c := plan.DefaultConfig()
	c.AllowReceivers = []string{"*", "nginx/a", "no dash"}
	c.DockerRoot, c.PodsRoot = "docker", "/pods"
	c.Rules = []rules.Config{
		{Name: "good", Rule: "true", Receiver: "nginx"},
		{Name: "good", Rule: "true", Receiver: "nginx"},
		{Rule: "true"},
		{Name: "bad", Rule: "prot == 80", Receiver: "2x", Signals: []string{"traces"}, Config: map[string]any{
			"a": map[string]any{"b": "`host"}, "c": "``",
		}},
		{Name: "worse", Receiver: "nginx"},
	}
	_, err := plan.New(c)
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	want := []string{
		`rules[1].name: rules[0] is called "good", too (a rule without a name has that of its receiver)`,
		`rules[2]: has neither name nor receiver`,
		`rules[3]: rule "bad": receiver "2x": the type is not of letters, digits and underscores`,
		`rules[3]: rule "bad": compile rule: line 1, column 1: unknown name prot`,
		"rules[3]: rule \"bad\": signal \"traces\": is none of metrics, logs",
		"rules[3]: rule \"bad\": compile config::a::b: backtick at byte 1 is not closed (\\` is a literal one)",
		`rules[3]: rule "bad": compile config::c: expression between backticks is empty`,
		`rules[4]: rule "worse": compile rule: is empty (true starts the receiver for every container)`,
		`allow_receivers[1]: "nginx/a" has a name behind its type (types are allowed, under any name)`,
		`allow_receivers[2]: receiver "no dash": the type is not of letters, digits and underscores`,
		`docker_root: "docker" is no absolute path`,
	}
	if d := cmp.Diff(want, strings.Split(err.Error(), "\n")); d != "" {
		t.Error(d)
	}
}
