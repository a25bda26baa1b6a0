package tags_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/selection"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

func TestNewRefuses(t *testing.T) {
	f := func(o tags.Options, want string) {
		t.Helper()
		_, err := tags.New(o)
		require.Error(t, err)
		if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q does not begin with %q", err, want)
		}
	}
	f(tags.Options{Labels: tags.Rules{Allow: []string{"a", "b*", "c[d]"}}}, "labels.allow[2]: ")
	f(tags.Options{Env: tags.Rules{Deny: []string{""}}}, "env.deny[0]: ")
	f(tags.Options{Env: tags.Rules{Allow: []string{"A=B"}}}, "env.allow[0]: ")
	f(tags.Options{Env: tags.Rules{Attributes: map[string]string{"A B": "c"}}}, "env.attributes[A B]: ")
	f(tags.Options{PodLabels: tags.Rules{Attributes: map[string]string{"a*": "b"}}}, "pod_labels.attributes[a*]: ")
	f(tags.Options{Annotations: tags.Rules{Attributes: map[string]string{"a": ""}}}, "annotations.attributes[a]: ")
	f(tags.Options{Labels: tags.Rules{Attributes: map[string]string{"a": "container.id"}}}, "labels.attributes[a]: ")
	f(tags.Options{Aliases: []tags.Alias{{Name: "x"}}}, "aliases[0]: ")
	f(tags.Options{Aliases: []tags.Alias{{Match: selection.Rule{Image: "["}, Name: "x"}}}, "aliases[0].image: ")
	f(tags.Options{Aliases: []tags.Alias{{Match: selection.Rule{Image: "x"}}}}, "aliases[0].name: ")
	f(tags.Options{MaxAttributes: -1}, "max_attributes: ")
	f(tags.Options{MaxAttributes: 1025}, "max_attributes: ")
	f(tags.Options{MaxValueLength: -1}, "max_value_length: ")
	f(tags.Options{Cardinality: 7}, "cardinality: ")
}

func TestAlias(t *testing.T) {
	c := compile(t, tags.Options{Aliases: []tags.Alias{
		{Match: selection.Rule{ContainerName: "*db*", Image: "postgres"}, Name: "database"},
		{Match: selection.Rule{ContainerName: "*db*"}, Name: "other"},
	}})
	f := func(want string, con *entity.Container) {
		t.Helper()
		require.Equal(t, want, byKey(c.Container(con, nil))["container.alias"])
	}
	labels := map[string]string{"tallyman.alias": "own"}
	f("database", &entity.Container{Name: "a-db-1", Image: entity.Image{Name: "postgres"}, Labels: labels})
	f("other", &entity.Container{Name: "a-db-1"})
	f("own", &entity.Container{Name: "web", Labels: labels})
	f("", &entity.Container{Name: "web"})
}

// What is denied is not read: not by the rules, not by a mapping, not by the table.
func TestDeny(t *testing.T) {
	con := compose()
	con.Env["OTEL_SERVICE_NAME"] = "denied"
	set := compile(t, tags.Options{
		Labels: tags.Rules{
			Allow: []string{"*"}, Deny: []string{"com.docker.*", "maint?iner"},
			Attributes: map[string]string{"maintainer": "team"},
		},
		Env: tags.Rules{Deny: []string{"OTEL_*"}},
	}).Container(con, nil)
	got := byKey(set)
	require.Equal(t, "nginx", got["service.name"])
	for _, key := range []string{"team", "docker.compose.project", "service.namespace", "container.label.maintainer"} {
		require.NotContains(t, got, key)
	}
	require.Zero(t, set.Cut)
}

// A mapping comes before what the table would say, and the first key in order
// before the second.
func TestMapped(t *testing.T) {
	con := engine("x", map[string]string{"b": "from-b", "a": "from-a", "c": "***"}, map[string]string{"E": "from-e"})
	got := byKey(compile(t, tags.Options{
		Labels: tags.Rules{Attributes: map[string]string{"b": "team", "a": "team", "c": "container.image.name"}},
		Env:    tags.Rules{Attributes: map[string]string{"E": "service.name"}},
	}).Container(con, nil))
	require.Equal(t, "from-a", got["team"])
	require.Equal(t, "from-e", got["service.name"])
	require.Equal(t, "nginx", got["container.image.name"])
}

func TestEnvNames(t *testing.T) {
	standard := compile(t, tags.Options{}).EnvNames()
	want := []string{
		"DD_ENV", "DD_SERVICE", "DD_VERSION", "MARATHON_APP_ID", "MESOS_TASK_ID", "NOMAD_ALLOC_ID", "NOMAD_GROUP_NAME",
		"NOMAD_JOB_NAME", "NOMAD_NAMESPACE", "NOMAD_TASK_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME",
	}
	require.Empty(t, cmp.Diff(want, standard))

	more := compile(t, tags.Options{Env: tags.Rules{
		Allow: []string{"APP_*", "ZONE?"}, Deny: []string{"NOMAD_*", "DD_ENV", "HIDDEN"},
		Attributes: map[string]string{"TIER": "tier", "HIDDEN": "hidden"},
	}}).EnvNames()
	want = []string{
		"APP_*", "DD_SERVICE", "DD_VERSION", "MARATHON_APP_ID", "MESOS_TASK_ID",
		"OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME", "TIER", "ZONE*",
	}
	require.Empty(t, cmp.Diff(want, more))
}

func TestResourceAttributes(t *testing.T) {
	c := compile(t, tags.Options{})
	f := func(text string, want map[string]string, cut tags.Cut) {
		t.Helper()
		set := c.Container(&entity.Container{Env: map[string]string{"OTEL_RESOURCE_ATTRIBUTES": text}}, nil)
		if diff := cmp.Diff(want, byKey(set)); diff != "" {
			t.Errorf("%q: -want +got\n%s", text, diff)
		}
		require.Equal(t, cut, set.Cut, text)
	}
	f("a=1, b = 2 ,", map[string]string{"a": "1", "b": "2"}, tags.Cut{})
	f("a=1,a=2", map[string]string{"a": "2"}, tags.Cut{})
	f("k%2Cx=a%3Db+c", map[string]string{"k,x": "a=b+c"}, tags.Cut{})
	f("a=b=c", map[string]string{"a": "b=c"}, tags.Cut{})
	f("a=***,b=2", map[string]string{"b": "2"}, tags.Cut{})
	f("a=%FF", map[string]string{"a": "\uFFFD"}, tags.Cut{InvalidUTF8: 1})
	f("a=1,bare", map[string]string{}, tags.Cut{Malformed: 1})
	f("a=1,b=%zz", map[string]string{}, tags.Cut{Malformed: 1})
	f("a=1,=2", map[string]string{}, tags.Cut{Malformed: 1})
	f("container.id=x", map[string]string{}, tags.Cut{Malformed: 1})
	f("host.name=node-9,team=finance", map[string]string{"team": "finance"}, tags.Cut{Reserved: 1})
	f("db.pass=hunter2,a=1", map[string]string{"a": "1"}, tags.Cut{Secret: 1})
	f("db.password=hunter2,dsn=postgres%3A%2F%2Fu%3Ahunter2%40db,a=1", map[string]string{"a": "1"}, tags.Cut{Secret: 2})
	f("a="+strings.Repeat("x", 200_000), map[string]string{}, tags.Cut{ValueLength: 1})
}

func TestTagLists(t *testing.T) {
	c := compile(t, tags.Options{})
	f := func(text string, want map[string]string, cut tags.Cut) {
		t.Helper()
		set := c.Container(&entity.Container{Labels: map[string]string{"com.datadoghq.ad.tags": text}}, nil)
		if diff := cmp.Diff(want, byKey(set)); diff != "" {
			t.Errorf("%q: -want +got\n%s", text, diff)
		}
		require.Equal(t, cut, set.Cut, text)
	}
	f(`["a:1","b:c:d","a:2"]`, map[string]string{"a": "1", "b": "c:d"}, tags.Cut{})
	f(`{"a":"1"}`, map[string]string{}, tags.Cut{Malformed: 1})
	f(`["a:1"`, map[string]string{}, tags.Cut{Malformed: 1})
	f(`["a:1", 2]`, map[string]string{}, tags.Cut{Malformed: 1})
	f(`["bare",":x","h:%%host%%","a:1"]`, map[string]string{"a": "1"}, tags.Cut{Malformed: 3})
	f(`["api_key:abc","a:1"]`, map[string]string{"a": "1"}, tags.Cut{Secret: 1})
	f(`["host.name:x","+k8s.pod.name:y","a:1"]`, map[string]string{"a": "1"}, tags.Cut{Reserved: 2})
	f(`["container.id:x"]`, map[string]string{}, tags.Cut{Malformed: 1})
	f(`["a:`+strings.Repeat("x", 200_000)+`"]`, map[string]string{}, tags.Cut{ValueLength: 1})
	f("***", map[string]string{}, tags.Cut{})
}
