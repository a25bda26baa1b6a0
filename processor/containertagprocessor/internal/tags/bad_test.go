package tags_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

// allowAll lets everything through that a rule can let through.
func allowAll() tags.Options {
	all := tags.Rules{Allow: []string{"*"}}
	return tags.Options{Labels: all, Env: all, PodLabels: all, Annotations: all}
}

func TestThousandsOfLabels(t *testing.T) {
	con := compose()
	for i := range 5000 {
		con.Labels[fmt.Sprintf("x.%04d", i)] = "value"
	}
	set := compile(t, allowAll()).Container(con, nil)
	require.Len(t, set.Attributes, tags.DefaultMaxAttributes)
	// com.docker.compose.config-hash looks like a key, and its value is withheld.
	require.Equal(t, tags.Cut{AttributeCount: 14 + 1 + len(con.Labels) - 1 - tags.DefaultMaxAttributes, Secret: 1}, set.Cut)
	got := byKey(set)
	require.Equal(t, "web", got["docker.compose.service"])
	require.Contains(t, got, "container.label.x.0000")
	require.NotContains(t, got, "container.label.x.4999")
}

func TestMegabytes(t *testing.T) {
	big := strings.Repeat("é", 5<<20)
	con := engine("web", map[string]string{"big": big, strings.Repeat("k", 10<<20): "v"}, nil)
	c := compile(t, allowAll())
	set := c.Container(con, nil)
	value := byKey(set)["container.label.big"]
	require.Equal(t, strings.Repeat("é", 512), value)
	require.Equal(t, tags.Cut{ValueLength: 1, Malformed: 1}, set.Cut)
	if unsafe.StringData(value) == unsafe.StringData(big) {
		t.Error("a short value keeps the megabytes behind it")
	}
	perRun := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Container(con, nil)
		}
	})
	if perRun.AllocedBytesPerOp() > 256<<10 {
		t.Errorf("%d bytes are allocated for a container with large labels", perRun.AllocedBytesPerOp())
	}
}

func TestCutAndClean(t *testing.T) {
	o := allowAll()
	o.MaxValueLength = 5
	c := compile(t, o)
	f := func(value, want string, cut tags.Cut) {
		t.Helper()
		set := c.Container(&entity.Container{Labels: map[string]string{"k": value}}, nil)
		got, ok := byKey(set)["container.label.k"]
		require.True(t, ok)
		require.Equal(t, want, got)
		require.Equal(t, cut, set.Cut, "%q", value)
	}
	f("12345", "12345", tags.Cut{})
	f("123456", "12345", tags.Cut{ValueLength: 1})
	f("1234é", "1234", tags.Cut{ValueLength: 1})
	f("12😀3", "12", tags.Cut{ValueLength: 1})
	f("a\xffb", "a\uFFFDb", tags.Cut{InvalidUTF8: 1})
	f("a\xffbc", "a\uFFFDb", tags.Cut{InvalidUTF8: 1, ValueLength: 1})
	f("a\x00b", "ab", tags.Cut{InvalidUTF8: 1})
	f("a\tb\n", "a\tb\n", tags.Cut{})
	f("", "", tags.Cut{})
}

func TestBadKeys(t *testing.T) {
	set := compile(t, allowAll()).Container(&entity.Container{Labels: map[string]string{
		"a\xff": "1", "a\xfe": "2", "\x00b": "3", strings.Repeat("k", 347): "4", strings.Repeat("k", 331): "5",
	}}, nil)
	var keys []string
	for _, a := range set.Attributes {
		keys = append(keys, a.Key+"="+a.Value)
	}
	// Two keys become the same: the first of them, by its bytes, counts.
	require.Equal(t, []string{"container.label.a\uFFFD=2", "container.label.b=3"}, keys)
	require.Equal(t, tags.Cut{Malformed: 2}, set.Cut)
}

func TestLongArrays(t *testing.T) {
	con := engine("web", nil, nil)
	con.Networks = nil
	for i := range 1000 {
		con.Networks = append(con.Networks, fmt.Sprintf("net%04d", i))
	}
	con.Image.Tags = []string{"", "***", "postgres://u:hunter2@db"}
	set := compile(t, tags.Options{}).Container(con, nil)
	for _, a := range set.Attributes {
		switch a.Key {
		case "docker.network.names":
			require.Equal(t, con.Networks[:64], a.Values)
		case "container.image.tags":
			t.Errorf("tags: %q", a.Values)
		}
	}
	require.Equal(t, tags.Cut{ValueLength: 1, Secret: 1}, set.Cut)
}

// secrets are of the kinds that package secret is certain about.
func secrets() []string {
	return []string{
		"postgres://web:hunter2-middle@db/shop", "AKIAHUNTER2MIDDLE0000", "ghp_hunter2middle000000000000",
		"-----BEGIN PRIVATE KEY----- hunter2-middle",
	}
}

// No secret gets out, wherever it is.
func TestPlantedSecrets(t *testing.T) {
	o := allowAll()
	o.Labels.Attributes = map[string]string{"tallyman.alias": "mapped"}
	o.Env.Attributes = map[string]string{"DD_SERVICE": "service.name"}
	c := compile(t, o)
	for _, s := range secrets() {
		for _, f := range fixtures() {
			con, pod := plant(f, s)
			set := c.Container(con, pod)
			text := strings.ToLower(describe(set))
			if strings.Contains(text, "hunter2") {
				t.Errorf("%s: %q gets out:\n%s", f.name, s, text)
			}
			require.NotZero(t, set.Cut.Secret)
		}
	}
}

// plant puts a secret into every text of a fixture, and adds a label.
func plant(f fixture, s string) (*entity.Container, *entity.Pod) {
	planted := func(m map[string]string) map[string]string {
		out := map[string]string{"planted": s, "tallyman.alias": s}
		for key, value := range m {
			out[key] = value + s
		}
		return out
	}
	con := *f.con
	con.Name += s
	con.Runtime += s
	con.Command = "/bin/" + s
	con.Image.Name += s
	con.Image.Tags = append(slices.Clone(con.Image.Tags), s)
	con.Networks = append(slices.Clone(con.Networks), s)
	con.Labels, con.Env = planted(con.Labels), planted(con.Env)
	con.Env["OTEL_RESOURCE_ATTRIBUTES"] = "a=" + s + ",service.instance.id=" + s
	con.Env["DD_SERVICE"] = s
	con.Labels["com.datadoghq.ad.tags"] = `["a:` + s + `"]`
	if f.pod == nil {
		return &con, nil
	}
	pod := *f.pod
	pod.Name += s
	pod.Labels, pod.Annotations = planted(pod.Labels), planted(pod.Annotations)
	pod.Annotations["resource.opentelemetry.io/x"] = s
	return &con, &pod
}

// What people write must not look like a secret either, nor be called one.
func TestLikelySecrets(t *testing.T) {
	c := compile(t, allowAll())
	f := func(key, value string) {
		t.Helper()
		set := c.Container(&entity.Container{Labels: map[string]string{key: value}, Env: map[string]string{key: value}}, nil)
		require.Empty(t, set.Attributes, "%s=%s", key, value)
		require.Equal(t, tags.Cut{Secret: 2}, set.Cut)
	}
	f("db.password", "x")
	f("GITHUB_TOKEN", "x")
	f("options", "host=db password=hunter2")
	f("options", "host=db pass\x00word=hunter2") // NUL goes before the search
	f("hash", "0123456789abcdef0123456789abcdef")

	f("postgres://web:hunter2@db", "in the key")

	// A cut must not hide that there is one.
	for _, before := range []int{1000, 1010, 1020} {
		f("long", strings.Repeat("x ", before/2)+"postgres://web:"+strings.Repeat("p", 900)+"@db")
	}
}

// FuzzContainer checks what must hold of any label and variable (key=value) and
// of any caps, one in each half of the number.
func FuzzContainer(f *testing.F) {
	f.Add("com.docker.compose.service=web", "OTEL_RESOURCE_ATTRIBUTES=a=1,b=%20", uint16(3<<8|20))
	f.Add(`com.datadoghq.ad.tags=["a:1","+b:2"]`, "MARATHON_APP_ID=/", uint16(64<<8|1))
	f.Add("a\xff=\xf0\x9f\x98", "DD_ENV=\x00", uint16(1<<8|2))
	f.Add("io.kubernetes.pod.uid=***", "NOMAD_TASK_NAME=postgres://a:hunter2@b", uint16(9<<8|200))
	f.Fuzz(func(t *testing.T, label, variable string, caps uint16) {
		o := allowAll()
		o.MaxAttributes, o.MaxValueLength = 1+int(caps>>8), 1+int(caps&0xff)
		c := compile(t, o)
		labelKey, labelValue, _ := strings.Cut(label, "=")
		envKey, envValue, _ := strings.Cut(variable, "=")
		con := engine("web", map[string]string{labelKey: labelValue, "planted": secrets()[0], "url": labelValue + secrets()[0]},
			map[string]string{envKey: envValue, "PLANTED": secrets()[1]})
		pod := &entity.Pod{Name: labelValue, Labels: map[string]string{labelKey: labelValue}, Annotations: map[string]string{envKey: envValue}}
		set := c.Container(con, pod)
		checkSet(t, set, o)
		require.Equal(t, set, c.Container(con, pod))
	})
}

func checkSet(t *testing.T, set *tags.Set, o tags.Options) {
	t.Helper()
	if len(set.Attributes) > o.MaxAttributes {
		t.Errorf("%d attributes, not %d", len(set.Attributes), o.MaxAttributes)
	}
	last := ""
	for _, a := range set.Attributes {
		if a.Key <= last {
			t.Errorf("%q after %q", a.Key, last)
		}
		last = a.Key
		if a.Key == "container.id" {
			t.Error("container.id is set")
		}
		for _, text := range append([]string{a.Value}, a.Values...) {
			if !utf8.ValidString(text) || strings.Contains(text, "\x00") || len(text) > o.MaxValueLength || text == "***" {
				t.Errorf("%q = %q", a.Key, text)
			}
			if strings.Contains(text, "hunter2-middle") || strings.Contains(text, "HUNTER2MIDDLE") {
				t.Errorf("a secret gets out: %q = %q", a.Key, text)
			}
		}
		if !utf8.ValidString(a.Key) || strings.Contains(a.Key, "\x00") {
			t.Errorf("key %q", a.Key)
		}
	}
}
