package configfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/internal/discovery/configfile"
	"github.com/tallymanhq/tallyman/internal/discovery/plan"
	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/settings"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
)

// load writes each text to a file and loads them in their order.
func load(t *testing.T, receiver string, texts ...string) (configfile.File, error) {
	t.Helper()
	o := configfile.Options{Receiver: receiver, LookupEnv: func(name string) (string, bool) {
		value, ok := map[string]string{
			"ROOT": "/hostfs", "EMPTY": "", "OFF": "false", "RULE": "true", "ALLOW": "prometheus,nginx", "NEST": "ROOT", "PASSWORD": "hunter2",
		}[name]
		return value, ok
	}}
	for i, text := range texts {
		path := filepath.Join(t.TempDir(), string(rune('a'+i))+".yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		o.Paths = append(o.Paths, path)
	}
	return configfile.Load(o)
}

const one = `
receivers:
  discovery:
    root_path: ${env:ROOT:-/}
    recognise: ${env:OFF}
    rules:
      - name: web
        rule: port == 80
        receiver: nginx/web
        signals: [metrics]
        every_port: true
        config:
          endpoint: 'http://` + "`endpoint`" + `/status'
          password: ${env:PASSWORD}
          money: $$5
        resource_attributes: {team: '${env:PASSWORD}'}
service:
  pipelines:
    metrics/x: {receivers: [otlp, discovery]}
    logs: {receivers: [discovery/other]}
    traces: {receivers: [discovery]}
`

func TestLoad(t *testing.T) {
	got, err := load(t, "", one)
	if err != nil {
		t.Fatal(err)
	}
	want := configfile.File{Receiver: "discovery", Pipelines: spec.Metrics, Served: true}
	want.Settings = settings.Default()
	want.RootPath, want.Recognise = "/hostfs", false
	want.Rules = []rules.Config{{
		Name: "web", Rule: "port == 80", Receiver: "nginx/web", Signals: []string{"metrics"}, EveryPort: true,
		Config: map[string]any{
			"endpoint": "http://`endpoint`/status", "password": "${env:PASSWORD}", "money": "$5",
		},
		ResourceAttributes: map[string]string{"team": "${env:PASSWORD}"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// A receiver that sets nothing has the defaults, in each way to say so.
func TestNothingSet(t *testing.T) {
	for _, text := range []string{"receivers: {discovery: }", "receivers: {discovery: {}}", "receivers: {discovery: '${env:EMPTY}'}"} {
		got, err := load(t, "", text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(configfile.File{Receiver: "discovery", Settings: settings.Default()}, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", text, diff)
		}
	}
}

// The later file wins by key, and lists are not joined.
func TestMerge(t *testing.T) {
	const later = `
receivers:
  discovery:
    labels: false
    allow_receivers: ${env:ALLOW}
    rules: [{rule: "${env:RULE}", receiver: nginx}]
`
	got, err := load(t, "", one, later)
	if err != nil {
		t.Fatal(err)
	}
	if got.RootPath != "/hostfs" || got.Labels || got.Recognise || got.Pipelines != spec.Metrics {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]rules.Config{{Rule: "true", Receiver: "nginx"}}, got.Rules); diff != "" {
		t.Errorf("rules -want +got\n%s", diff)
	}
	if diff := cmp.Diff([]string{"prometheus", "nginx"}, got.AllowReceivers); diff != "" {
		t.Error(diff)
	}
	if got, err = load(t, "", one, "receivers: {discovery: }"); err != nil || len(got.Rules) != 0 {
		t.Errorf("nothing over something is nothing: %+v %v", got, err)
	}
}

// A list of rules, or one configuration, may be in a file of its own; references
// in it stay where secrets are.
func TestReferencesToFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := write("config.yaml", "{password: '${env:PASSWORD}'}\n")
	list := write("rules.yaml", "- {rule: '${env:RULE}', receiver: redis, config: '${file:"+config+"}'}\n")
	got, err := load(t, "", "receivers: {discovery: {rules: '${file:"+list+"}', root_path: '/${yaml:a}/${env:${env:NEST}}'}}")
	if err != nil {
		t.Fatal(err)
	}
	want := []rules.Config{{Rule: "true", Receiver: "redis", Config: map[string]any{"password": "${env:PASSWORD}"}}}
	if diff := cmp.Diff(want, got.Rules); diff != "" || got.RootPath != "/a//hostfs" {
		t.Errorf("root %s, rules -want +got\n%s", got.RootPath, diff)
	}
}

func TestUnset(t *testing.T) {
	got, err := load(t, "", "receivers: {discovery: {root_path: '/${env:MISSING}${MISSING}', rules: [{rule: 'true', receiver: a, config: {x: '${env:ALSO}'}}]}}")
	if err != nil || got.RootPath != "/" {
		t.Fatalf("%+v %v", got, err)
	}
	if diff := cmp.Diff([]string{"MISSING"}, got.Unset); diff != "" {
		t.Error(diff)
	}
}

func TestMistakes(t *testing.T) {
	f := func(text, receiver string, names ...string) {
		t.Helper()
		_, err := load(t, receiver, text)
		if err == nil {
			t.Errorf("%s was taken", text)
			return
		}
		for _, name := range names {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v, want %q in it", text, err, name)
			}
		}
		if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %q", text, err)
		}
	}
	f("recievers: {}", "", `"recievers"`)
	f("receivers: {otlp: }", "", "has no such receiver: discovery", "a.yaml")
	f("receivers: {discovery: }", "discovery/x", "discovery/x", "there are discovery")
	f("receivers: {otlp: }", "discovery/x", "there is none")
	f("receivers: {discovery: , discovery/x: }", "", "discovery, discovery/x")
	f("receivers: {discovery: {labls: true, rool: 1}}", "", "receivers::discovery: has invalid keys: labls, rool")
	f("receivers: {discovery: {rules: [{rule: a, reciever: b}]}}", "", "rules[0]", "reciever")
	f("receivers: {discovery: {Labels: true}}", "", "Labels")
	f("receivers: {discovery: {rules: [{3: a}]}}", "", "rules[0]", "3")
	f("receivers: {discovery: {rules: ['${yaml:3: a}']}}", "", "rules[0]", "3")
	f("receivers: {discovery: {labels: maybe}}", "", "labels", "bool")
	f("receivers: {discovery: {rules: {a: 1}}}", "", "rules")
	f("receivers: {discovery: 7}", "", "receivers::discovery: is no map")
	f("receivers: 7", "", "receivers: is no map")
	f("receivers: {discovery: {root_path: '${vault:x}'}}", "", "root_path", "${vault:...}")
	f("receivers: {discovery: {rules: [{rule: '${file:/nowhere}'}]}}", "", "rules: rules[0]: rule", "/nowhere")
	f("receivers: {discovery: {root_path: '${yaml:${a}}'}}\nservice: 1", "", "service")
	f("a: [", "", "a.yaml", "yaml")
	if _, err := configfile.Load(configfile.Options{Paths: []string{"/nowhere"}}); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Error(err)
	}
	if _, err := configfile.Load(configfile.Options{Paths: []string{"yaml:receivers::discovery::labels: true"}}); err == nil {
		t.Error("text was taken for a file")
	}
}

// A file that refers to itself ends.
func TestEndlessReference(t *testing.T) {
	path := filepath.Join(t.TempDir(), "self")
	if err := os.WriteFile(path, []byte("x${file:"+path+"}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, "", "receivers: {discovery: {root_path: '${file:"+path+"}'}}"); err == nil || !strings.Contains(err.Error(), "too many references") {
		t.Error(err)
	}
}

func TestDefaultsAreThePlans(t *testing.T) {
	if diff := cmp.Diff(plan.DefaultConfig(), settings.Default().Config); diff != "" {
		t.Error(diff)
	}
}

// Whatever stands in a file, it is an error or settings.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(one))
	f.Add([]byte("receivers: {discovery: {root_path: '${yaml:${a}}$$${env:x}'}}"))
	f.Add([]byte("receivers: {discovery: {rules: [null, 1, {config: []}, {3: a, null: b}]}}"))
	path := filepath.Join(f.TempDir(), "x.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if strings.Contains(string(text), "file:") {
			return // of this host
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := configfile.Load(configfile.Options{Paths: []string{path}, LookupEnv: func(string) (string, bool) { return "", false }})
		if err == nil && !strings.HasPrefix(got.Receiver, "discovery") {
			t.Errorf("%+v", got)
		}
	})
}
