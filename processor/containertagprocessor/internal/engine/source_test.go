package engine

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/sinktest"
)

const (
	imageID = "sha256:4f1c0de5a7b3c1d2e3f405162738495a6b7c8d9eaf0b1c2d3e4f5061728394a5"
	digest  = "sha256:9b2f01a6d3c4e5f60718293a4b5c6d7e8f9011223344556677889900aabbccdd"
)

func newHandler(t *testing.T, o Options) (*handler, *sinktest.Recorder) {
	t.Helper()
	if o.Endpoint == "" {
		o.Endpoint = docker.DefaultEndpoint
	}
	source, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	sink := new(sinktest.Recorder)
	return &handler{source: source, sink: sink}, sink
}

// A connection as the watcher tells it, its loss, and the next one.
func TestSequence(t *testing.T) {
	h, sink := newHandler(t, Options{Name: "docker"})
	var _ docker.Handler = h
	away := errors.New("connection refused")
	h.Disconnected(away)
	h.Connected(docker.Engine{Runtime: "docker", Version: "28.1.0"})
	h.Put(&docker.Container{ID: "a", Name: "web"})
	h.Put(&docker.Container{ID: "b"})
	h.Synced()
	h.Absent("c")
	h.Put(&docker.Container{ID: "a", Name: "renamed"})
	h.Event(docker.Event{Action: "rename", ID: "a"})
	h.Gone("b")
	h.Disconnected(away)
	h.Connected(docker.Engine{Runtime: "docker", Version: "29.0.0"})
	h.Put(&docker.Container{ID: "a", Name: "renamed"})
	h.Synced()
	want := []string{
		"down docker", "put docker a", "put docker b", "up docker", "absent docker c", "put docker a", "gone docker b",
		"down docker", "put docker a", "up docker",
	}
	if got := sink.Calls(); !slices.Equal(got, want) {
		t.Errorf("told %q", got)
	}
	if got := sink.Container("a"); got.Name != "renamed" || got.RuntimeVersion != "29.0.0" {
		t.Errorf("%+v", got)
	}
	if got := sink.Downs(); len(got) != 2 || got[0] != away {
		t.Errorf("downs: %v", got)
	}
}

// Every field of a container arrives, and of its environment what is asked for.
func TestContainer(t *testing.T) {
	h, sink := newHandler(t, Options{Name: "podman", KeepEnv: func(name string) bool { return strings.HasPrefix(name, "APP_") }})
	created := time.Date(2026, 4, 1, 8, 0, 0, 0, time.UTC)
	h.Connected(docker.Engine{Runtime: "podman", Version: "5.4.0"})
	h.Put(&docker.Container{
		ID: "a", Name: "web", ImageRef: "registry:5000/team/app:1.2", ImageID: imageID,
		ImageTags: []string{"registry:5000/team/app:1.2"}, ImageDigests: []string{"registry:5000/team/app@" + digest},
		Command: "/bin/app", Labels: map[string]string{"k": "v"}, Env: map[string]string{"APP_TIER": "1", "PATH": "/bin"},
		Networks: []docker.Network{
			{Name: "back", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")}},
			{Name: "front", Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.2")}}, {Name: "none"},
		},
		Created: created,
	})
	want := &entity.Container{
		ID: "a", Name: "web", Runtime: "podman", RuntimeVersion: "5.4.0",
		Image: entity.Image{
			Name: "registry:5000/team/app", Tags: []string{"1.2"}, ID: imageID, Digests: []string{"registry:5000/team/app@" + digest},
		},
		Command: "/bin/app", Labels: map[string]string{"k": "v"}, Env: map[string]string{"APP_TIER": "1"},
		Networks:  []string{"back", "front", "none"},
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2"), netip.MustParseAddr("10.1.0.2")},
		Created:   created,
	}
	if d := cmp.Diff(want, sink.Container("a"), cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Error(d)
	}
}

// Without a filter no variable is kept; an engine that does not say what it is
// is Docker.
func TestDefaults(t *testing.T) {
	h, sink := newHandler(t, Options{Name: "docker"})
	h.Connected(docker.Engine{})
	h.Put(&docker.Container{ID: "a", Env: map[string]string{"SECRET": "x"}})
	if got := sink.Container("a"); len(got.Env) != 0 || got.Runtime != "docker" {
		t.Errorf("%+v", got)
	}
}

func TestImageOf(t *testing.T) {
	f := func(ref string, imageTags []string, name string, tags ...string) {
		t.Helper()
		got := imageOf(&docker.Container{ImageRef: ref, ImageID: imageID, ImageTags: imageTags, ImageDigests: []string{"d"}})
		want := entity.Image{Name: name, Tags: tags, ID: imageID, Digests: []string{"d"}}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%q %q: %s", ref, imageTags, d)
		}
	}
	digits := strings.TrimPrefix(imageID, "sha256:")
	// By tag. The image's other tags under this name are its own too, those
	// under other names are not.
	f("nginx:1.25", []string{"nginx:1.25", "nginx:stable", "mirror/nginx:1.25"}, "nginx", "1.25", "stable")
	f("nginx:1.25", nil, "nginx", "1.25")
	f("nginx", []string{"nginx:latest"}, "nginx", "latest")
	// The tag has moved to another image since: the container's word stays.
	f("nginx:1.25", []string{"nginx:1.24"}, "nginx", "1.24", "1.25")
	// By digest.
	f("nginx@"+digest, []string{"nginx:1.25", "other:1"}, "nginx", "1.25")
	f("nginx:1.25@"+digest, nil, "nginx", "1.25")
	// By id, whole and short, with and without the algorithm.
	f(imageID, []string{"app:2", "app:1", "other:3"}, "app", "1", "2")
	f(digits, []string{"app:2"}, "app", "2")
	f(digits[:12], []string{"app:2"}, "app", "2")
	f(imageID[:19], []string{"app:2"}, "app", "2")
	// By id, and the image has no name or is gone.
	f(imageID, nil, "")
	f(digits[:12], nil, "")
	f("", nil, "")
	// A name that could be the beginning of an id, but is too short for one.
	f(digits[:3], []string{digits[:3] + ":1"}, digits[:3], "1")
	// A name of hexadecimal digits that is no beginning of this id.
	f("cafe", []string{"cafe:latest"}, "cafe", "latest")
	// What is no reference at all.
	f("NOT a reference", []string{"app:2"}, "app", "2")
}

func TestBadEndpoint(t *testing.T) {
	if _, err := New(Options{Name: "docker", Endpoint: "/run/docker.sock"}); err == nil || !strings.Contains(err.Error(), "/run/docker.sock") {
		t.Errorf("%v", err)
	}
}

// Without an engine the source says so once, takes questions, and ends when it
// is told to.
func TestRunWithoutEngine(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	source, err := New(Options{Name: "docker", Endpoint: "unix://" + filepath.Join(t.TempDir(), "none.sock")})
	if err != nil {
		t.Fatal(err)
	}
	var _ entity.Source = source
	source.Want("a", "")
	source.Want("", "pod")
	sink := new(sinktest.Recorder)
	stop := sinktest.Run(t, source, sink)
	sink.Await(t, "down docker", 1)
	stop()
	if got := sink.Calls(); !slices.Equal(got, []string{"down docker"}) {
		t.Errorf("told %q", got)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	source.Run(ended, sink) // ends at once
}
