package hints_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/internal/discovery/hints"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

// written are options for a host where all output is in its usual place.
func written() hints.Options {
	return hints.Options{LogFiles: func(t *target.Target) ([]string, string, error) {
		patterns, format, err := hints.LogPlaces{}.Files(t)
		if errors.Is(err, hints.ErrNotThere) {
			err = nil
		}
		return patterns, format, err
	}}
}

func asksForLogs(config string) *target.Target {
	return container(labels{logs + "/enabled": "true", logs + "/config": config})
}

func TestLogs(t *testing.T) {
	file := "/var/lib/docker/containers/" + id + "/" + id + "-json.log"
	got := hints.Read(container(labels{logs + "/enabled": "true", logs + ".web/config": "max_log_size: 128KiB\nstart_at: beginning"}), written())
	want := []string{"file_log at 0 for logs: map[include:[" + file + "] include_file_name:false include_file_path:true max_log_size:131072 operators:[map[add_metadata_from_filepath:false format:docker id:container-parser type:container]] start_at:beginning]"}
	if diff := cmp.Diff(want, short(got)); diff != "" || len(got.Problems) > 0 {
		t.Errorf("%v %s", got.Problems, diff)
	}
	got = hints.Read(container(labels{logs + ".other/enabled": "true"}), written())
	if len(got.Specs)+len(got.Problems) > 0 {
		t.Errorf("another container's: %+v", got)
	}
}

// Every setting that a label may give.
func TestLogSettings(t *testing.T) {
	got := hints.Read(asksForLogs(`
attributes: {team: shop, tier: '2'}
encoding: utf8-raw
fingerprint_size: 4KiB
force_flush_period: 1s
include_file_name: true
include_file_name_resolved: false
include_file_path: true
include_file_path_resolved: false
max_log_size: 256KiB
poll_interval: 500ms
preserve_leading_whitespaces: true
preserve_trailing_whitespaces: true
start_at: end
operators:
  - {type: container, format: docker, on_error: send_quiet}
  - {type: json_parser, parse_from: body, parse_to: attributes, parse_ints: true, timestamp: {parse_from: attributes.time, layout: '%Y-%m-%dT%H:%M:%S', location: Europe/Berlin}}
  - {type: regex_parser, id: one, regex: '^(?P<host>[^ ]*) - (?P<rest>.*)$', severity: {parse_from: attributes.s, preset: none, mapping: {error: [500, 4xx], warn: odd}}}
  - {type: key_value_parser, delimiter: '=', pair_delimiter: ' '}
  - {type: csv_parser, header: 'a,b', delimiter: ',', lazy_quotes: true}
  - {type: trace_parser, trace_id: {parse_from: attributes.t}, span_id: {parse_from: attributes.s}, trace_flags: {parse_from: attributes.f}}
  - {type: move, from: 'attributes["a.b"]', to: body}
  - {type: retain, fields: [attributes.a, body.b]}
  - {type: flatten, field: attributes.a}
  - {type: add, field: attributes.x, value: y}
`), written())
	if len(got.Problems) > 0 || len(got.Specs) != 1 {
		t.Fatalf("%v", got.Problems)
	}
	first := got.Specs[0].Config["operators"].([]any)[0].(map[string]any)
	want := map[string]any{"type": "container", "id": "container-parser", "format": "docker", "on_error": "send_quiet", "add_metadata_from_filepath": false}
	if diff := cmp.Diff(want, first); diff != "" || got.Specs[0].Config["fingerprint_size"] != 4096 {
		t.Error(diff, got.Specs[0].Config)
	}
}

// What has no end yet is looked through again at each poll.
func TestMultiline(t *testing.T) {
	f := func(more string, size int, poll string) {
		t.Helper()
		got := hints.Read(asksForLogs("multiline: {line_start_pattern: '^\\d{4}-\\d{2}', omit_pattern: false}\n"+more), written())
		if len(got.Specs) != 1 {
			t.Fatal(got.Problems)
		}
		if c := got.Specs[0].Config; c["max_log_size"] != size || c["poll_interval"] != poll {
			t.Errorf("%q: %v", more, c)
		}
	}
	f("", 64<<10, "1s")
	f("max_log_size: 32KiB\npoll_interval: 5s", 32<<10, "5s")
}

// places makes a host with the output of one container of Docker and one pod.
func places(t *testing.T) (root, docker, pods string) {
	t.Helper()
	root = t.TempDir()
	docker, pods = filepath.Join(root, "var/lib/docker"), filepath.Join(root, "var/log/pods")
	for _, folder := range []string{filepath.Join(docker, "containers", id), filepath.Join(pods, "shop_web-0_u-1/web")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(docker, "containers", id, id+"-json.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return root, docker, pods
}

func TestLogFiles(t *testing.T) {
	root, docker, pods := places(t)
	f := func(change func(*target.Target), want string) {
		t.Helper()
		one := container(labels{"io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "shop", "io.kubernetes.container.name": "web"})
		one.Resource, one.Runtime = labels{"k8s.pod.uid": "u-1"}, "containerd"
		change(one)
		for _, p := range []hints.LogPlaces{{Root: root}, {Root: "/nowhere", Docker: docker, Pods: pods}} {
			got, _, err := p.Files(one)
			if text := strings.TrimPrefix(strings.Join(got, " "), root); text != want || (err == nil) != (want != "") {
				t.Errorf("%q %v, want %q", text, err, want)
			}
		}
	}
	f(func(*target.Target) {}, "/var/log/pods/shop_web-0_u-1/web/*.log")
	f(func(o *target.Target) { o.Labels["io.kubernetes.container.name"] = "../../../../etc" }, "")
	f(func(o *target.Target) { o.Labels["io.kubernetes.pod.name"] = "*" }, "")
	f(func(o *target.Target) { o.Labels["io.kubernetes.pod.name"] = "a..b" }, "")
	f(func(o *target.Target) { o.Runtime = "docker" }, "/var/lib/docker/containers/"+id+"/"+id+"-json.log")
	f(func(o *target.Target) { o.Runtime, o.ID = "docker", "../x" }, "")
	f(func(o *target.Target) { o.Runtime = "podman" }, "")
	f(func(o *target.Target) { o.Resource = nil }, "")
}

// A driver that writes no such file, or data elsewhere: the wish waits, with the
// path, and is looked at again.
func TestLogFileIsNotThere(t *testing.T) {
	root, docker, _ := places(t)
	file := filepath.Join(docker, "containers", id, id+"-json.log")
	one := asksForLogs("start_at: end")
	look := func() hints.Result {
		return hints.Read(one, hints.Options{LogFiles: hints.LogPlaces{Root: root}.Files})
	}
	if got := look(); len(got.Specs) != 1 || got.Again {
		t.Fatalf("%+v", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	want := hints.Result{Again: true, Waiting: []string{
		logs + ": " + file + " is not there (Docker's driver json-file writes it; docker_root says where Docker's data is)",
	}}
	if diff := cmp.Diff(want, look()); diff != "" {
		t.Error(diff)
	}
	one.Labels[logs+"/config"] = "include: [/etc/shadow]"
	if got := look(); len(got.Problems) != 1 || got.Again {
		t.Errorf("%+v", got)
	}
	one.Labels[logs+"/enabled"] = "false"
	if got := look(); got.Off != spec.Logs {
		t.Errorf("%+v", got)
	}
}
