package store_test

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

// The bounds of bounds.go.
const (
	maxPairs = 512
	maxKey   = 512
	maxValue = 4096
	maxList  = 64
)

// told puts a container and returns what the subscriber gets of it, and what was
// counted as cut.
func told(t *testing.T, c *entity.Container) (*entity.Container, uint64) {
	t.Helper()
	r := newRig(t, store.Options{})
	c.ID = "c"
	r.PutContainer("best", c)
	return r.view.get("c").Container, r.Stats().Cut
}

// What fits is kept as it is, to the last byte.
func TestWithinBounds(t *testing.T) {
	c := &entity.Container{
		Command: strings.Repeat("c", maxValue), Env: map[string]string{strings.Repeat("k", maxKey): strings.Repeat("v", maxValue)},
		Labels: numbered(maxPairs), Networks: make([]string, maxList), Addresses: make([]netip.Addr, maxList),
		Image: entity.Image{Tags: make([]string, maxList), Digests: make([]string, maxList)},
	}
	if got, cut := told(t, c); got != c || cut != 0 {
		t.Errorf("%d cut, copied: %v", cut, got != c)
	}
}

// numbered returns labels whose keys sort before those that matter.
func numbered(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprintf("A%05d", i)] = "x"
	}
	return m
}

// One field too large at a time: it is cut, the container is counted once, and
// what the source has told is left alone.
func TestBeyondBounds(t *testing.T) {
	long := strings.Repeat("v", maxValue+1)
	f := func(name string, c *entity.Container, ok func(*entity.Container) bool) {
		t.Helper()
		got, cut := told(t, c)
		if cut != 1 || !ok(got) {
			t.Errorf("%s: %d cut", name, cut)
		}
		if ok(c) {
			t.Errorf("%s: the source's own was changed", name)
		}
	}
	f("command", &entity.Container{Command: long}, func(c *entity.Container) bool { return c.Command == long[1:] })
	f("label", &entity.Container{Labels: map[string]string{"k": long}}, func(c *entity.Container) bool { return c.Labels["k"] == long[1:] })
	f("variable", &entity.Container{Env: map[string]string{"K": long}}, func(c *entity.Container) bool { return c.Env["K"] == long[1:] })
	f("key", &entity.Container{Labels: map[string]string{strings.Repeat("k", maxKey+1): "", "b": ""}},
		func(c *entity.Container) bool { return len(c.Labels) == 1 })
	f("labels", &entity.Container{Labels: numbered(maxPairs + 1)}, func(c *entity.Container) bool { return len(c.Labels) == maxPairs })
	f("networks", &entity.Container{Networks: make([]string, maxList+1)}, func(c *entity.Container) bool { return len(c.Networks) == maxList })
	f("addresses", &entity.Container{Addresses: make([]netip.Addr, maxList+1)}, func(c *entity.Container) bool { return len(c.Addresses) == maxList })
	f("tags", &entity.Container{Image: entity.Image{Tags: make([]string, maxList+1)}}, func(c *entity.Container) bool { return len(c.Image.Tags) == maxList })
	f("digests", &entity.Container{Image: entity.Image{Digests: make([]string, maxList+1)}}, func(c *entity.Container) bool { return len(c.Image.Digests) == maxList })
}

// Values are cut between characters, and no further back than a character is
// long where there are none.
func TestCutBetweenCharacters(t *testing.T) {
	f := func(text string, want int) {
		t.Helper()
		got, _ := told(t, &entity.Container{Labels: map[string]string{"k": text}})
		value := got.Labels["k"]
		if len(value) != want || !strings.HasPrefix(text, value) || utf8.ValidString(text) && !utf8.ValidString(value) {
			t.Errorf("%d bytes, want %d", len(value), want)
		}
	}
	filler := strings.Repeat("x", maxValue-2)
	f(filler+"€€", maxValue-2)
	f(filler+"éé", maxValue)
	f(filler+"x😀", maxValue-1)
	f(filler+"xxx", maxValue)
	f(strings.Repeat("\x80", 2*maxValue), maxValue-utf8.UTFMax)
	f(strings.Repeat("\xff", 2*maxValue), maxValue)
}

// What a container asks of discovery is kept whole, up to what discovery takes and so
// that more of it can be seen; it goes before other keys.
func TestHintsAreKept(t *testing.T) {
	const (
		config  = "io.opentelemetry.discovery.metrics/config"
		longest = 16 << 10 // internal/discovery/hints
	)
	whole := strings.Repeat("v", longest)
	c := &entity.Container{Labels: map[string]string{config: whole}}
	if got, cut := told(t, c); got != c || cut != 0 {
		t.Errorf("%d cut, copied: %v", cut, got != c)
	}
	for _, more := range []string{whole + whole, whole + "\u20ac" + whole, whole + "xxx\u20ac" + whole} {
		got, cut := told(t, &entity.Container{Labels: map[string]string{config: more}})
		if n := len(got.Labels[config]); n <= longest || n > longest+utf8.UTFMax || cut != 1 {
			t.Errorf("%d bytes, %d cut", n, cut)
		}
	}
	p := &entity.Pod{UID: "p", Annotations: numbered(5000)}
	p.Annotations[config], p.Annotations["prometheus.io/scrape"] = "x", "true"
	r := newRig(t, store.Options{})
	r.PutPod("best", p)
	if got := r.view.pods["p"].Annotations; len(got) != maxPairs || got[config] != "x" || got["prometheus.io/scrape"] != "true" {
		t.Errorf("%d kept", len(got))
	}
}

// A label of 10 MB is cut, and its text is not held on to.
func TestHugeLabel(t *testing.T) {
	const huge = 10 << 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := newRig(t, store.Options{})
	for i := range 5 {
		id := fmt.Sprint(i)
		r.PutContainer("best", &entity.Container{ID: id, Labels: map[string]string{"k": strings.Repeat("v", huge)}})
		if n := len(r.view.get(id).Container.Labels["k"]); n != maxValue {
			t.Errorf("%d bytes kept", n)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > huge {
		t.Errorf("%d bytes are held", grown)
	}
	runtime.KeepAlive(r)
	if n := r.Stats().Cut; n != 5 {
		t.Errorf("%d cut", n)
	}
}

// Among thousands of labels those stay from which tags are made: all that the
// table of tags names.
func TestIdentitySurvives(t *testing.T) {
	c := &entity.Container{Labels: numbered(5000), Env: numbered(5000)}
	p := &entity.Pod{UID: "p", Labels: numbered(5000), Annotations: numbered(5000)}
	for _, kind := range []struct {
		words string
		into  map[string]string
	}{{"label", c.Labels}, {"variable", c.Env}, {"pod label", p.Labels}, {"annotation", p.Annotations}} {
		keys := tableKeys(t, kind.words)
		if len(keys) == 0 {
			t.Fatalf("the table names no %s", kind.words)
		}
		for _, key := range keys {
			kind.into[key] = "kept"
		}
	}
	compiler, err := tags.New(tags.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range compiler.EnvNames() {
		c.Env[name] = "kept"
	}
	r := newRig(t, store.Options{})
	c.ID = "c"
	r.PutContainer("best", c)
	r.PutPod("best", p)
	got := r.view.get("c").Container
	for _, kind := range []struct{ all, kept map[string]string }{
		{c.Labels, got.Labels}, {c.Env, got.Env},
		{p.Labels, r.view.pods["p"].Labels}, {p.Annotations, r.view.pods["p"].Annotations},
	} {
		if len(kind.kept) != maxPairs {
			t.Errorf("%d kept", len(kind.kept))
		}
		for key, value := range kind.all {
			if value == "kept" && kind.kept[key] == "" {
				t.Errorf("%s was lost", key)
			}
		}
	}
	if n := r.Stats().Cut; n != 2 {
		t.Errorf("%d cut", n)
	}
}

// tableKeys takes the keys of one kind out of the table of tags, which is a
// golden file of package tags: "label `com.docker.compose.service`".
func tableKeys(t *testing.T, kind string) (keys []string) {
	t.Helper()
	table, err := os.ReadFile("../tags/testdata/table.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?:; |\\| |in )"+kind+" `([^`]+)`").FindAllSubmatch(table, -1) {
		keys = append(keys, string(m[1]))
	}
	return keys
}

// Equal containers keep equal labels, whatever the order of a map.
func TestCutIsStable(t *testing.T) {
	want, _ := told(t, &entity.Container{Labels: numbered(2000)})
	for range 3 {
		got, _ := told(t, &entity.Container{Labels: numbered(2000)})
		if d := diff(want.Labels, got.Labels); d != "" {
			t.Fatal(d)
		}
	}
	if _, ok := want.Labels[fmt.Sprintf("A%05d", maxPairs-1)]; !ok {
		t.Error("not the first in the alphabet are kept")
	}
}
