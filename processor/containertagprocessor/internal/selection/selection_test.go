package selection

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/glob"
)

func shopWeb() *entity.Container {
	return &entity.Container{
		Name:   "shop-web-1",
		Image:  entity.Image{Name: "docker.io/library/nginx", Tags: []string{"1.25", "stable"}, Digests: []string{"nginx@sha256:0123"}},
		Labels: map[string]string{composeService: "web", "tier": "front", "empty": ""},
	}
}

func TestRule(t *testing.T) {
	f := func(rule Rule, want bool) {
		t.Helper()
		m, err := Compile(rule)
		require.NoError(t, err)
		if got := m.Match(shopWeb()); got != want {
			t.Errorf("%+v: %v", rule, got)
		}
	}
	f(Rule{ContainerName: "shop-web-?"}, true)
	f(Rule{ContainerName: "web"}, false)
	f(Rule{Image: "nginx"}, true)
	f(Rule{Image: "nginx:1.2?"}, true)
	f(Rule{Image: "nginx:stable"}, true)
	f(Rule{Image: "nginx:1.26"}, false)
	f(Rule{Image: "library/nginx"}, true)
	f(Rule{Image: "docker.io/library/nginx:1.25"}, true)
	f(Rule{Image: "docker.io/*"}, true)
	f(Rule{Image: "*/nginx"}, true)
	f(Rule{Image: "nginx@sha256:*"}, true)
	f(Rule{Image: "ngin"}, false)
	f(Rule{ComposeService: "w*"}, true)
	f(Rule{ComposeService: "db"}, false)
	f(Rule{Label: map[string]string{"tier": "*"}}, true)
	f(Rule{Label: map[string]string{"empty": "*"}}, true)
	f(Rule{Label: map[string]string{"absent": "*"}}, false)
	f(Rule{Label: map[string]string{"tier": "front", "absent": "*"}}, false)
	f(Rule{ContainerName: "shop-*", Label: map[string]string{"tier": "back"}}, false)
	f(Rule{ContainerName: "shop-*", Image: "nginx", ComposeService: "web", Label: map[string]string{"tier": "f*"}}, true)
}

func TestRuleWithoutData(t *testing.T) {
	for _, rule := range []Rule{{ContainerName: "*"}, {Image: "*"}, {ComposeService: "*"}, {Label: map[string]string{"a": "*"}}} {
		m, err := Compile(rule)
		require.NoError(t, err)
		if m.Match(&entity.Container{}) || m.Match(nil) {
			t.Errorf("%+v matches a container that has no such thing", rule)
		}
	}
}

func TestNameInPod(t *testing.T) {
	m, err := Compile(Rule{ContainerName: "sidecar"})
	require.NoError(t, err)
	require.True(t, m.Match(&entity.Container{Pod: &entity.PodRef{Container: "sidecar"}}))
	require.False(t, m.Match(&entity.Container{Pod: &entity.PodRef{}}))
}

func TestSelected(t *testing.T) {
	web, db := Rule{ComposeService: "web"}, Rule{ComposeService: "db"}
	f := func(include, exclude []Rule, want, wantUnknown bool) {
		t.Helper()
		s, err := New(include, exclude)
		require.NoError(t, err)
		require.Equal(t, want, s.Selected(shopWeb()))
		require.Equal(t, wantUnknown, s.Selected(nil))
		require.Equal(t, len(include)+len(exclude) > 0, s.Any())
	}
	f(nil, nil, true, true)
	f([]Rule{web}, nil, true, false)
	f([]Rule{db}, nil, false, false)
	f([]Rule{db, web}, nil, true, false)
	f(nil, []Rule{db}, true, true)
	f(nil, []Rule{db, web}, false, true)
	f([]Rule{web}, []Rule{{Image: "nginx"}}, false, false) // exclude wins
}

func TestNewRefuses(t *testing.T) {
	f := func(include, exclude []Rule, is error, want string) {
		t.Helper()
		_, err := New(include, exclude)
		require.ErrorIs(t, err, is)
		require.ErrorContains(t, err, want)
	}
	f([]Rule{{Image: "a"}, {}}, nil, ErrEmptyRule, "include[1]: ")
	f(nil, []Rule{{Label: map[string]string{}}}, ErrEmptyRule, "exclude[0]: ")
	f(nil, []Rule{{Image: "a[b]"}}, glob.ErrMalformed, "exclude[0].image: ")
	f([]Rule{{ContainerName: "x\n"}}, nil, glob.ErrMalformed, "include[0].container_name: ")
	f([]Rule{{Label: map[string]string{"a": ""}}}, nil, glob.ErrMalformed, "include[0].label[a]: ")
}

func BenchmarkSelected(b *testing.B) {
	s, err := New([]Rule{{ContainerName: "shop-*"}}, []Rule{{ComposeService: "db"}, {Label: map[string]string{"tallyman.ignore": "true"}}})
	require.NoError(b, err)
	con := shopWeb()
	b.ReportAllocs()
	for b.Loop() {
		s.Selected(con)
	}
}
