package rules_test

import (
	"maps"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

func web() *target.Target {
	listener := func(port uint16, executable string) target.Listener {
		return target.Listener{Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), port), Protocol: target.TCP, PID: 7, Executable: executable}
	}
	return &target.Target{
		ID: "c1", Name: "shop-web", Image: "team/shop", ImageTag: "1.2", Runtime: "docker", State: "running", PID: 7,
		Labels:       map[string]string{"app": "shop", "metrics.port": "9100"},
		Addresses:    []target.Address{{Network: "bridge", IP: netip.MustParseAddr("172.17.0.2")}},
		Listening:    []target.Listener{listener(80, "nginx"), listener(6379, "redis-server"), listener(9100, "node")},
		Executables:  []string{"supervisord", "nginx", "redis-server"},
		Technologies: []target.Technology{{Name: "nginx", Port: 80, Confidence: target.Certain}, {Name: "redis", Port: 6379, Confidence: target.Certain}},
		Resource:     map[string]string{"container.id": "c1", "container.name": "shop-web"},
	}
}

func TestMatch(t *testing.T) {
	f := func(rule string, ports ...uint16) {
		t.Helper()
		set, err := rules.Compile([]rules.Config{{Rule: rule, Receiver: "x", EveryPort: true}})
		if err != nil {
			t.Errorf("%s: %v", rule, err)
			return
		}
		specs, problems := set.Evaluate(web())
		var got []uint16
		for _, s := range specs {
			got = append(got, s.Port)
		}
		if diff := cmp.Diff(ports, got); diff != "" || len(problems) > 0 {
			t.Errorf("%s: %v %s", rule, problems, diff)
		}
	}
	f(`type == "container" && port == 6379`, 6379)
	f(`type == "container" and port == 1`)
	f(`type == "pod"`)
	f(`technology == "nginx"`, 80)
	f(`technology in ["nginx", "redis"] && confidence == "certain"`, 80, 6379)
	f(`executable startsWith "redis"`, 6379)
	f(`port in 6000..7000`, 6379)
	f(`labels["app"] == "shop" && port > 80`, 6379, 9100)
	f(`labels["absent"] == ""&& port == 80`, 80)
	f(`"app" in labels && port == int(labels["metrics.port"])`, 9100)
	f(`labels?.app == "shop" && port == 80`, 80)
	f(`name matches "^shop-" && endpoint == "172.17.0.2:80"`, 80)
	f(`any(executables, # == "nginx") && port == 80`, 80)
	f(`6379 in ports && transport == "TCP" && host == "172.17.0.2" && port == 80`, 80)
	f(`port == 0`, 0)
	f(`pod.namespace == "" && image == "team/shop" && tag == "1.2" && port == 80`, 80)
	f(`true`, 80, 6379, 9100)
}

// One receiver for a container, at the first endpoint that fits.
func TestFirstPort(t *testing.T) {
	set, err := rules.Compile([]rules.Config{{Rule: `port > 80`, Receiver: "x"}, {Rule: `name == "shop-web"`, Receiver: "y"}})
	if err != nil {
		t.Fatal(err)
	}
	specs, _ := set.Evaluate(web())
	if len(specs) != 2 || specs[0].Port != 6379 || specs[1].Port != 80 {
		t.Errorf("%+v", specs)
	}
	alone := &target.Target{ID: "c2", Name: "shop-web"}
	if specs, _ = set.Evaluate(alone); len(specs) != 1 || specs[0].Port != 0 || specs[0].Endpoint != "" {
		t.Errorf("without a port: %+v", specs)
	}
}

func TestSpec(t *testing.T) {
	set, err := rules.Compile([]rules.Config{{
		Name: "status", Rule: `port == 80`, Receiver: "nginx/shop", Signals: []string{"metrics"},
		Config: map[string]any{
			"endpoint": "http://`endpoint`/status", "port": "`port`", "text": "`port``port`", "tls": map[string]any{"insecure": true},
			"list": []any{"`name`", 1, []string{"`image`:`tag`"}}, "names": "`executables`", "labels": "`labels`",
			"on": "`\"app\" in labels`", "tick": "a\\`b", "slash": `c:\x`, "empty": "", "none": nil,
		},
		ResourceAttributes: map[string]string{"app": "`labels[\"app\"]`", "container.name": "", "port": "`port`"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	specs, problems := set.Evaluate(web())
	if len(specs) != 1 || len(problems) > 0 {
		t.Fatalf("%+v %v", specs, problems)
	}
	want := spec.Spec{
		Rule: "status", Receiver: "nginx/shop", Endpoint: "172.17.0.2:80", Port: 80, Signals: spec.Metrics, Target: "c1", Trusted: true,
		Config: map[string]any{
			"endpoint": "http://172.17.0.2:80/status", "port": 80, "text": "8080", "tls": map[string]any{"insecure": true},
			"list": []any{"shop-web", 1, []any{"team/shop:1.2"}}, "names": []any{"supervisord", "nginx", "redis-server"},
			"labels": map[string]any{"app": "shop", "metrics.port": "9100"},
			"on":     true, "tick": "a`b", "slash": `c:\x`, "empty": "", "none": nil,
		},
		Resource: map[string]string{"container.id": "c1", "app": "shop", "port": "80"},
		Why:      "rule port == 80 fits 172.17.0.2:80",
	}
	if diff := cmp.Diff(want, specs[0]); diff != "" {
		t.Error(diff)
	}
}

func TestCompileErrors(t *testing.T) {
	f := func(c rules.Config, want ...string) {
		t.Helper()
		_, err := rules.Compile([]rules.Config{c})
		if err == nil {
			t.Errorf("%+v: no error", c)
			return
		}
		for _, w := range append(want, `rule "r": `) {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v: lacks %q", err, w)
			}
		}
	}
	config := func(value any) map[string]any { return map[string]any{"a": map[string]any{"b": value}} }
	f(rules.Config{Name: "r", Rule: `port ==`, Receiver: "x"}, "compile rule", "line 1, column ")
	f(rules.Config{Name: "r", Rule: "true &&\n  prot == 1", Receiver: "x"}, "line 2, column 3", "unknown name prot")
	f(rules.Config{Name: "r", Rule: `port == "80"`, Receiver: "x"}, "mismatched types")
	f(rules.Config{Name: "r", Rule: `port`, Receiver: "x"}, "bool")
	f(rules.Config{Name: "r", Rule: ` `, Receiver: "x"}, "is empty")
	f(rules.Config{Name: "r", Rule: `name matches "("`, Receiver: "x"}, "compile rule")
	f(rules.Config{Name: "r", Rule: `now().Year() > 2000`, Receiver: "x"}, "now")
	f(rules.Config{Name: "r", Rule: `count(1..1000000, # > 1) > port`, Receiver: "x"}, "range")
	f(rules.Config{Name: "r", Rule: `any(0..9, port in 0..#)`, Receiver: "x"}, "range")
	f(rules.Config{Name: "r", Rule: strings.Repeat("port == 1 || ", 400) + "false", Receiver: "x"}, "nodes")
	f(rules.Config{Name: "r", Rule: strings.Repeat(" ", 20000) + "true", Receiver: "x"}, "longer than")
	f(rules.Config{Name: "r", Rule: `true`}, `receiver ""`)
	f(rules.Config{Name: "r", Rule: `true`, Receiver: "a/b/c"}, `receiver "a/b/c"`)
	f(rules.Config{Name: "r", Rule: `true`, Receiver: "x", Signals: []string{"traces"}}, `signal "traces"`)
	f(rules.Config{Name: "r", Rule: `true`, Receiver: "x", Config: config("`prot`")}, "compile config::a::b: expression at byte 2: line 1, column 1: unknown name")
	f(rules.Config{Name: "r", Rule: `true`, Receiver: "x", Config: config([]any{"ok", "http://`host"})}, "config::a::b::1", "byte 8 is not closed")
	f(rules.Config{Name: "r", Rule: `true`, Receiver: "x", Config: config("` `")}, "is empty")
	f(rules.Config{Name: "r", Rule: `true`, Receiver: "x", ResourceAttributes: map[string]string{"k": "`x`"}}, "resource_attributes::k")
	// All mistakes at once.
	f(rules.Config{Name: "r", Rule: `x`, Receiver: "", Config: config("`y`")}, "unknown name x", "config::a::b: expression at byte 2: line 1, column 1: unknown name", `receiver ""`)
}

func TestNames(t *testing.T) {
	one := rules.Config{Rule: "true", Receiver: "redis"}
	if _, err := rules.Compile([]rules.Config{one, one}); err == nil || !strings.Contains(err.Error(), `"redis": another has the same name`) {
		t.Error(err)
	}
	if _, err := rules.Compile([]rules.Config{{Rule: "true"}}); err == nil || !strings.Contains(err.Error(), "rule 1: has neither") {
		t.Error(err)
	}
	set, err := rules.Compile([]rules.Config{one, {Name: "second", Rule: "true", Receiver: "redis"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"redis", "second"}, set.Names()); diff != "" {
		t.Error(diff)
	}
}

// What goes wrong for one rule is told, and the others go on.
func TestProblems(t *testing.T) {
	f := func(c rules.Config, want string) {
		t.Helper()
		c.Name, c.Receiver = "bad", "x"
		set, err := rules.Compile([]rules.Config{c, {Name: "good", Rule: "true", Receiver: "y"}})
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			return
		}
		specs, problems := set.Evaluate(web())
		if len(specs) != 1 || specs[0].Rule != "good" {
			t.Errorf("%+v: %+v", c, specs)
		}
		if len(problems) != 1 || problems[0].Rule != "bad" || !strings.Contains(problems[0].Err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, problems, want)
		}
	}
	f(rules.Config{Rule: `int(labels["app"]) == 1`}, "evaluate rule: line 1, column ")
	f(rules.Config{Rule: `len(map(split(repeat("a,", 9000), ","), #)) > 1`}, "memory budget exceeded")
	f(rules.Config{Rule: `true`, Config: map[string]any{"a": []any{"`executables[9]`"}}}, "fill config: a: 0: expression at byte 2: line 1, column 12: index out of range")
	f(rules.Config{Rule: `true`, Config: map[string]any{"a": "`nil`"}}, "gives nothing")
	f(rules.Config{Rule: `true`, Config: map[string]any{"a": "`pod`"}}, "gives a target.Pod")
	f(rules.Config{Rule: `true`, ResourceAttributes: map[string]string{"k": "`int(name)`"}}, "fill resource_attributes: k: expression at byte 2: line 1, column 1: ")
}

// A secret that has backticks, and what a container has in its labels, are in no error,
// neither when rules are compiled nor when they are evaluated.
func TestErrorsKeepSecrets(t *testing.T) {
	const secret = "hunter2"
	f := func(c rules.Config) {
		t.Helper()
		c.Name, c.Receiver = "r", "x"
		one := web()
		one.Labels["key"] = secret
		set, err := rules.Compile([]rules.Config{c})
		if err == nil {
			_, problems := set.Evaluate(one)
			if len(problems) != 1 {
				t.Errorf("%+v: no error", c)
				return
			}
			err = problems[0].Err
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%+v: %v", c, err)
		}
		if !strings.Contains(err.Error(), "column ") && !strings.Contains(err.Error(), " at byte ") {
			t.Errorf("%v: does not say where", err)
		}
	}
	for _, value := range []string{
		"`" + secret + "`", "a`" + secret + " b`c", "a`" + secret, "`'" + secret + "`", "`" + secret + ".name`", "`name." + secret + "`",
		"`" + secret + "()`", "`'" + secret + "' + 1`", "`int('" + secret + "')`", "`" + "\"" + secret + "\" | foo`", "`@" + secret + "`",
		"`{'" + secret + "': 1}.x.y`", "`let " + secret + " = 1; nil`", "`[][\"" + secret + "\"]`", "`name matches '(" + secret + "'`",
		"`int(labels['key'])`", "`date(labels['key'])`", "`fromJSON(labels['key'])`", "`fromBase64(labels['key'] + '!')`", "`duration('" + secret + "')`",
		"`" + strings.Repeat("port == 1 || ", 400) + "'" + secret + "' == name`",
	} {
		f(rules.Config{Rule: "true", Config: map[string]any{"password": value}})
		f(rules.Config{Rule: "true", ResourceAttributes: map[string]string{"k": value}})
	}
	f(rules.Config{Rule: "int(labels['key']) == 1"})
	f(rules.Config{Rule: "fromJSON(labels['key']) == 1"})
}

// Whoever opens many ports does not fill the agent; what is left out is told.
func TestManyPorts(t *testing.T) {
	set, err := rules.Compile([]rules.Config{{Name: "all", Rule: "port > 0", Receiver: "x", EveryPort: true}, {Name: "good", Rule: "true", Receiver: "y"}})
	if err != nil {
		t.Fatal(err)
	}
	f := func(ports, specs, problems int) {
		t.Helper()
		one := web()
		one.Listening = nil
		for port := range ports {
			for _, protocol := range []string{target.TCP, target.UDP} {
				one.Listening = append(one.Listening, target.Listener{Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port+1)), Protocol: protocol})
			}
		}
		got, told := set.Evaluate(one)
		if len(got) != specs || len(told) != problems {
			t.Fatalf("%d ports: %d specs, %v", ports, len(got), told)
		}
		if problems > 0 && (told[0].Rule != "all" || !strings.Contains(told[0].Err.Error(), "more than 16 ports")) {
			t.Error(told)
		}
	}
	f(16, 17, 0)
	f(17, 17, 1)
	f(500, 17, 1)
}

// A spec is its own: filling in does not write into the rule or the target.
func TestSpecsShareNothing(t *testing.T) {
	set, err := rules.Compile([]rules.Config{{Rule: "port > 0", Receiver: "x", EveryPort: true, Config: map[string]any{"m": map[string]any{"a": "`port`"}}}})
	if err != nil {
		t.Fatal(err)
	}
	one := web()
	specs, _ := set.Evaluate(one)
	specs[0].Config["m"].(map[string]any)["a"] = "changed"
	maps.DeleteFunc(specs[0].Resource, func(string, string) bool { return true })
	if specs[1].Config["m"].(map[string]any)["a"] != 6379 || len(specs[1].Resource) != 2 || !one.Equal(web()) {
		t.Errorf("%+v", specs[1])
	}
}

// Every documented name is known to the compiler under its tag.
func TestEveryName(t *testing.T) {
	env := reflect.TypeFor[target.Env]()
	for i := range env.NumField() {
		name := env.Field(i).Tag.Get("expr")
		if _, err := rules.Compile([]rules.Config{{Rule: name + " == " + name + " || true", Receiver: "x"}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever is in a template, compiling and filling end without a panic, and text
// without backticks stays as it is.
func FuzzTemplate(f *testing.F) {
	f.Add("http://`endpoint`/x")
	f.Add("`port`")
	f.Add("\\`a`port``labels[\"app\"]`")
	f.Add("`map(labels, #)`")
	f.Add("`repeat(name, 100000)`")
	f.Fuzz(func(t *testing.T, text string) {
		set, err := rules.Compile([]rules.Config{{Rule: "port == 80", Receiver: "x", Config: map[string]any{"a": text}}})
		if err != nil {
			return
		}
		specs, problems := set.Evaluate(web())
		if len(specs)+len(problems) != 1 {
			t.Fatalf("%d specs, %v", len(specs), problems)
		}
		if !strings.Contains(text, "`") && specs[0].Config["a"] != text {
			t.Errorf("%q became %q", text, specs[0].Config["a"])
		}
	})
}
