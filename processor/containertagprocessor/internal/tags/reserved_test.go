package tags_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

// An application cannot say by any of its ways what the agent's data is of.
func TestReserved(t *testing.T) {
	c := compile(t, tags.Options{})
	ways := map[string]func(key string) (*entity.Container, *entity.Pod){
		"variable": func(key string) (*entity.Container, *entity.Pod) {
			return &entity.Container{Env: map[string]string{"OTEL_RESOURCE_ATTRIBUTES": key + "=x"}}, nil
		},
		"annotation": func(key string) (*entity.Container, *entity.Pod) {
			return &entity.Container{}, &entity.Pod{Annotations: map[string]string{"resource.opentelemetry.io/" + key: "x"}}
		},
		"tags in a label": func(key string) (*entity.Container, *entity.Pod) {
			return &entity.Container{Labels: map[string]string{"com.datadoghq.ad.tags": `["` + key + `:x"]`}}, nil
		},
		"tags in an annotation": func(key string) (*entity.Container, *entity.Pod) {
			return &entity.Container{}, &entity.Pod{Annotations: map[string]string{"ad.datadoghq.com/tags": `["` + key + `:x"]`}}
		},
	}
	f := func(key string, want []tags.Attribute, cut tags.Cut) {
		t.Helper()
		for way, make := range ways {
			set := c.Container(make(key))
			if diff := cmp.Diff(want, set.Attributes); diff != "" {
				t.Errorf("%s by %s: -want +got\n%s", key, way, diff)
			}
			require.Equal(t, cut, set.Cut, "%s by %s", key, way)
		}
	}
	for _, key := range []string{
		"host.name", "HOST.Name", "os.type", "cloud.account.id", "k8s.pod.uid", "k8s.pod.label.app", "aws.ecs.task.arn", "azure.vm.name",
		"gcp.project", "faas.name", "container.name", "container.label.team", "container.alias", "process.pid", "peer.service",
		"telemetry.sdk.name", "linux.cgroup.path", "datadog.host.name",
	} {
		f(key, nil, tags.Cut{Reserved: 1})
	}
	f("container.id", nil, tags.Cut{Malformed: 1})
	for _, key := range []string{"team", "hostname", "oslo", "host", "containers.of", "my.host.name", "deployment.environment.color", "service.instance.id"} {
		f(key, []tags.Attribute{{Key: key, Value: "x", Carried: true}}, tags.Cut{})
	}
}

// NUL goes before the key is judged.
func TestReservedBehindNUL(t *testing.T) {
	set := compile(t, tags.Options{}).Container(&entity.Container{Env: map[string]string{
		"OTEL_RESOURCE_ATTRIBUTES": "ho\x00st.name=a,%20k8s.pod.name=b,ok=c",
	}}, nil)
	require.Equal(t, map[string]string{"ok": "c"}, byKey(set))
	require.Equal(t, tags.Cut{Reserved: 2}, set.Cut)
}

// What others have said already is not counted as left out, and what the
// operator maps by name is the operator's word.
func TestReservedAndKnown(t *testing.T) {
	con := containerd()
	con.Labels = map[string]string{"node": "node-1"}
	con.Env = map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=other,container.name=other,host.name=other,service.name=web,team=finance"}
	set := compile(t, tags.Options{Labels: tags.Rules{Attributes: map[string]string{"node": "host.name"}}}).Container(con, nil)
	require.Zero(t, set.Cut)
	carried := map[string]bool{}
	for _, a := range set.Attributes {
		if a.Carried {
			carried[a.Key] = true
		}
		require.NotEqual(t, "other", a.Value, a.Key)
	}
	require.Equal(t, map[string]bool{"team": true}, carried)
	require.Equal(t, "node-1", byKey(set)["host.name"])
	require.Equal(t, "web", byKey(set)["service.name"])
}

// A pattern does not know what it lets through, so the words of a key count.
func TestSecretsByPattern(t *testing.T) {
	c := compile(t, allowAll())
	f := func(key, value string, withheld bool) {
		t.Helper()
		con := &entity.Container{Labels: map[string]string{key: value}, Env: map[string]string{key: value}}
		set := c.Container(con, &entity.Pod{Labels: map[string]string{key: value}, Annotations: map[string]string{key: value}})
		if withheld {
			require.Empty(t, set.Attributes, "%s=%s", key, value)
			require.Equal(t, tags.Cut{Secret: 4}, set.Cut)
			return
		}
		require.Len(t, set.Attributes, 4, "%s=%s", key, value)
		require.Zero(t, set.Cut)
	}
	for _, key := range []string{
		"DB_PASS", "SMTP_PASS", "REDISCLI_AUTH", "DB_CREDS", "SIGNING_KEY", "SESSION_KEY", "PRIVATEKEY", "HTTP_COOKIE",
		"VAULT_UNSEAL", "CARD_PIN", "com.example.db.pass", "DB_PA\x00SS",
	} {
		f(key, "hunter2", true)
	}
	f("BASIC_AUTH", "bob:hunter2", true)
	f("traefik.http.middlewares.m.basicauth.users", "bob:{SHA}x", true)
	f("com.example.people", "bob:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=", true)
	f("com.example.keyboard", "qwerty", false)
	f("COMPASS", "north", false)
	f("com.example.author", "bob", false)
}

// Who maps AUTH_BACKEND wants it; DB_PASSWORD stays what it is.
func TestMappedByName(t *testing.T) {
	o := tags.Options{Env: tags.Rules{Attributes: map[string]string{
		"AUTH_BACKEND": "auth.backend", "SESSION_STORE": "session.store", "DB_PASSWORD": "db",
	}}}
	set := compile(t, o).Container(&entity.Container{Env: map[string]string{
		"AUTH_BACKEND": "ldap", "SESSION_STORE": "redis://u:hunter2@cache", "DB_PASSWORD": "x",
	}}, nil)
	require.Equal(t, []tags.Attribute{{Key: "auth.backend", Value: "ldap"}}, set.Attributes)
	require.Equal(t, tags.Cut{Secret: 2}, set.Cut)
}
