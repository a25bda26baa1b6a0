package cri

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

func TestImageOf(t *testing.T) {
	id := "sha256:" + strings.Repeat("0a", 32)
	digest := "sha256:" + strings.Repeat("1b", 32)
	f := func(raw *runtimev1.Container, d details, want entity.Image) {
		t.Helper()
		if diff := cmp.Diff(want, imageOf(&container{raw: raw, details: d})); diff != "" {
			t.Errorf("%v: -want +got\n%s", raw, diff)
		}
	}
	named := func(image string) *runtimev1.Container {
		return &runtimev1.Container{Image: &runtimev1.ImageSpec{Image: image}}
	}
	f(named("nginx:1.25"), details{}, entity.Image{Name: "nginx", Tags: []string{"1.25"}})
	f(named("localhost:5000/team/app"), details{}, entity.Image{Name: "localhost:5000/team/app"})
	f(named("docker.io/library/nginx@"+digest), details{facts: imageFacts{tags: []string{"docker.io/library/nginx:1.25"}}},
		entity.Image{Name: "docker.io/library/nginx"})
	f(named("nginx:1@"+digest), details{}, entity.Image{Name: "nginx", Tags: []string{"1"}})
	// The kubelet's way: the id, and beside it what was written.
	f(&runtimev1.Container{Image: &runtimev1.ImageSpec{Image: id, UserSpecifiedImage: "nginx"}},
		details{facts: imageFacts{id: id, tags: []string{"docker.io/library/nginx:latest"}}},
		entity.Image{Name: "nginx", Tags: []string{"latest"}, ID: id})
	// Its older way: the id alone. cri-o writes ids without the algorithm.
	f(named(strings.TrimPrefix(id, "sha256:")), details{image: "quay.io/a/b:2", imageID: id},
		entity.Image{Name: "quay.io/a/b", Tags: []string{"2"}, ID: id})
	f(named(id), details{facts: imageFacts{id: id, digests: []string{"quay.io/a/b@" + digest}}},
		entity.Image{Name: "quay.io/a/b", ID: id, Digests: []string{"quay.io/a/b@" + digest}})
	f(named("NOT A Reference"), details{}, entity.Image{})
	f(&runtimev1.Container{}, details{}, entity.Image{})
}

func TestParseContainerInfo(t *testing.T) {
	all := func(string) bool { return true }
	f := func(text string, want containerInfo) {
		t.Helper()
		got, err := parseContainerInfo([]byte(text), all)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(containerInfo{})); diff != "" {
			t.Errorf("%s: -want +got\n%s", text, diff)
		}
	}
	none := map[string]string{}
	f(``, containerInfo{})
	f(`{}`, containerInfo{env: none})
	f(`{"runtimeSpec":null}`, containerInfo{env: none})
	f(`{"runtimeSpec":{"process":{"args":["sh","-c","x"],"env":["A=b=c","D","E="]}}}`,
		containerInfo{command: "sh", env: map[string]string{"A": "b=c", "E": ""}})
	f(`{"runtimeSpec":{"process":{"args":["mysql -u root -phunter2"]}}}`, containerInfo{command: "mysql", env: none})
	f(`{"runtimeSpec":{"process":{"args":["PGPASSWORD=hunter2","psql"]}}}`, containerInfo{env: none})
	f(`{"runtimeSpec":{"process":{"env":["BIG=`+strings.Repeat("x", maxEnvValue+1)+`"]}}}`, containerInfo{env: none})
	if _, err := parseContainerInfo([]byte(`{"runtimeSpec":[]}`), all); err == nil {
		t.Error("a list was taken for an object")
	}
}

func TestParseImageInfo(t *testing.T) {
	f := func(text string, want map[string]string) {
		t.Helper()
		got, err := parseImageInfo([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", text, diff)
		}
	}
	f(``, nil)
	f(`{}`, nil)
	f(`{"imageSpec":{"config":{"Labels":{"a":"b"}}}}`, map[string]string{"a": "b"})
	f(`{"labels":{"a":"c","d":"e"},"imageSpec":{"config":{"Labels":{"a":"b"}}}}`, map[string]string{"a": "b", "d": "e"})
	if _, err := parseImageInfo([]byte(`[`)); err == nil {
		t.Error("half a list was taken")
	}
}

// FuzzInfo: any text gives an error or bounded, kept variables.
func FuzzInfo(f *testing.F) {
	f.Add([]byte(`{"pid":1,"runtimeSpec":{"process":{"args":["sh"],"env":["A=b"]}},"imageSpec":{"config":{"Labels":{"x":"y"}}}}`))
	f.Add([]byte(`{"labels":{"a":"b"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		info, err := parseContainerInfo(text, func(name string) bool { return strings.HasPrefix(name, "A") })
		if err == nil && len(text) > 0 && !json.Valid(text) {
			t.Error("invalid JSON was taken")
		}
		if len(info.env) > maxEnv {
			t.Errorf("%d variables", len(info.env))
		}
		if strings.ContainsAny(info.command, "= \t\n") || len(info.command) > 255 {
			t.Errorf("command %q", info.command)
		}
		for name := range info.env {
			if !strings.HasPrefix(name, "A") || strings.Contains(name, "=") {
				t.Errorf("kept %q", name)
			}
		}
		labels, err := parseImageInfo(text)
		for key, value := range labels {
			if err != nil || !utf8.ValidString(key+value) {
				t.Errorf("label %q=%q with error %v", key, value, err)
			}
		}
	})
}
