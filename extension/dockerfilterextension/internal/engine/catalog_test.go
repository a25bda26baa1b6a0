package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// herd is the containers of a fake engine.
type herd struct {
	f      *fake
	mu     sync.Mutex
	states map[string]summary
}

type summary struct {
	ID     string `json:"Id"`
	Names  []string
	Image  string
	State  string
	Labels map[string]string
}

func startHerd(t testing.TB) (*herd, *engine.Engine) {
	t.Helper()
	f := startFake(t)
	h := &herd{f: f, states: map[string]summary{}}
	f.on("GET /v1.41/containers/json?all=1", func(w http.ResponseWriter, _ *http.Request) { h.list(w, "") })
	return h, f.open(nil)
}

func (h *herd) list(w http.ResponseWriter, id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := []summary{}
	for _, s := range h.states {
		if id == "" || s.ID == id {
			list = append(list, s)
		}
	}
	text, err := json.Marshal(list)
	if err != nil {
		h.f.t.Error(err)
	}
	writeJSON(w, string(text))
}

// put adds or replaces a container; with an action it tells of it.
func (h *herd) put(id, name, state, action string) {
	h.mu.Lock()
	h.states[id] = summary{ID: id, Names: []string{"/other/" + name, "/" + name}, Image: "img:1", State: state,
		Labels: map[string]string{"com.docker.compose.project": "p-" + name, "com.docker.compose.service": "s"}}
	h.mu.Unlock()
	h.f.on(fmt.Sprintf("GET /v1.41/containers/json?all=1&filters=%%7B%%22id%%22%%3A%%5B%%22%s%%22%%5D%%7D", id),
		func(w http.ResponseWriter, _ *http.Request) { h.list(w, id) })
	h.tell(id, action)
}

func (h *herd) remove(id, action string) {
	h.mu.Lock()
	delete(h.states, id)
	h.mu.Unlock()
	h.tell(id, action)
}

func (h *herd) tell(id, action string) {
	if action != "" {
		h.f.emit(fmt.Sprintf(`{"Type":"container","Action":%q,"Actor":{"ID":%q,"Attributes":{"name":"a lie"}}}`+"\n", action, id))
	}
}

// dockerd tells of some changes before its lists have them.
func TestCatalogAsksAgain(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	h, e := startHerd(t)
	id := hexID("aa")
	h.put(id, "old", "running", "")
	catalog := e.Catalog()
	defer catalog.Hold()()
	waitFor(t, catalog.IsLive)
	h.tell(id, "rename")
	one := "GET /v1.41/containers/json?all=1&filters=%7B%22id%22%3A%5B%22" + id + "%22%5D%7D"
	waitFor(t, func() bool { return h.f.count(one) == 1 })
	h.put(id, "new", "running", "")
	waitFor(t, func() bool { c, err := catalog.Get(t.Context(), id); return err == nil && c.Name == "new" })
	require.Equal(t, 2, h.f.count(one))
	require.Equal(t, uint64(1), e.Stats().Lists)
}

// Held, the catalog lists once and then follows the events.
func TestCatalogFollows(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	h, e := startHerd(t)
	a, b := hexID("aa"), hexID("ab")
	h.put(a, "web", "running", "")
	catalog := e.Catalog()
	release := catalog.Hold()
	waitFor(t, catalog.IsLive)
	got, err := catalog.Get(t.Context(), a)
	require.NoError(t, err)
	require.Equal(t, "web", got.Name)
	require.Equal(t, "img:1", got.Image)
	require.Equal(t, "p-web", got.ComposeProject())
	require.Equal(t, "s", got.ComposeService())
	require.Equal(t, uint64(1), e.Stats().Lists)

	h.put(b, "db", "created", "create")
	waitFor(t, func() bool { c, err := catalog.Resolve(t.Context(), "db", nil); return err == nil && c.ID == b })
	h.put(b, "db", "running", "start")
	waitFor(t, func() bool { c, err := catalog.Get(t.Context(), b); return err == nil && c.State == "running" })
	h.put(b, "db2", "running", "rename")
	waitFor(t, func() bool {
		c, err := catalog.Resolve(t.Context(), "db2", nil)
		_, old := catalog.Resolve(t.Context(), "db", nil)
		return err == nil && c.ID == b && engine.NotFound(old)
	})
	h.remove(b, "destroy")
	waitFor(t, func() bool { all, err := catalog.All(t.Context()); return err == nil && len(all) == 1 })
	// Gone without the event having come: a list of one shows it too.
	h.put(b, "db", "running", "create")
	waitFor(t, func() bool { all, err := catalog.All(t.Context()); return err == nil && len(all) == 2 })
	h.remove(b, "die")
	waitFor(t, func() bool { all, err := catalog.All(t.Context()); return err == nil && len(all) == 1 })

	release()
	waitFor(t, func() bool { return h.f.listeners() == 0 })
	waitFor(t, func() bool { return !catalog.IsLive() })
}

// A hundred questions for what is not there cost at most one list a second.
func TestCatalogMisses(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	h, e := startHerd(t)
	h.put(hexID("a"), "web", "running", "")
	catalog := e.Catalog()
	defer catalog.Hold()()
	waitFor(t, catalog.IsLive)
	before := e.Stats().Lists
	begin := time.Now()
	for n := range 100 {
		_, err := catalog.Resolve(t.Context(), fmt.Sprintf("nosuch%d", n), nil)
		require.True(t, engine.NotFound(err))
	}
	// The machine says how many seconds this took, not the test.
	require.LessOrEqual(t, e.Stats().Lists-before, 1+uint64(time.Since(begin)/time.Second))

	// An unannounced container is found once the second is over.
	h.put(hexID("b"), "db", "running", "")
	waitFor(t, func() bool { _, err := catalog.Resolve(t.Context(), "db", nil); return err == nil })
}

// Not held, it answers from lists that are at most 100 ms old.
func TestCatalogUnheld(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	h, e := startHerd(t)
	catalog := e.Catalog()
	h.put(hexID("a"), "web", "running", "")
	for range 3 {
		_, err := catalog.Resolve(t.Context(), "web", nil)
		require.NoError(t, err)
	}
	require.Zero(t, h.f.listeners())
	h.remove(hexID("a"), "")
	waitFor(t, func() bool { _, err := catalog.Resolve(t.Context(), "web", nil); return engine.NotFound(err) })
}

// The engine goes and comes back with other containers: in between there is no
// answer, after it none from before.
func TestCatalogRestart(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	h, e := startHerd(t)
	h.put(hexID("a"), "web", "running", "")
	catalog := e.Catalog()
	defer catalog.Hold()()
	waitFor(t, catalog.IsLive)
	h.f.stop()
	waitFor(t, func() bool { return !catalog.IsLive() })
	// The last list may be younger than 100 ms.
	waitFor(t, func() bool {
		_, err := catalog.Resolve(t.Context(), "web", nil)
		return errors.Is(err, engine.ErrUnavailable)
	})
	h.remove(hexID("a"), "")
	h.put(hexID("b"), "db", "running", "")
	h.f.start()
	waitFor(t, catalog.IsLive)
	_, err := catalog.Resolve(t.Context(), "web", nil)
	require.Equal(t, &engine.StatusError{Status: 404, Message: "No such container: web"}, err)
	got, err := catalog.Resolve(t.Context(), "db", nil)
	require.NoError(t, err)
	require.Equal(t, hexID("b"), got.ID)
}

// The order of dockerd, and what hidden containers may not do to it.
func TestResolve(t *testing.T) {
	a, b, c, d := hexID("abc1"), hexID("abc2"), hexID("dd"), hexID("ee")
	text := fmt.Sprintf(`[{"Id":%q,"Names":["/web"]},{"Id":%q,"Names":["/link/x","/abc1"]},{"Id":%q,"Names":["/%s"]},{"Id":%q}]`, a, b, c, a, d)
	table, err := engine.ParseContainers(strings.NewReader(text))
	require.NoError(t, err)
	f := func(ref, want string, hidden ...string) {
		t.Helper()
		got, err := table.Resolve(ref, func(c engine.Container) bool { return !slices.Contains(hidden, c.ID) })
		switch want {
		case "none":
			require.Equal(t, &engine.StatusError{Status: 404, Message: "No such container: " + ref}, err)
		case "several":
			require.ErrorIs(t, err, engine.ErrAmbiguous)
		default:
			require.NoError(t, err)
			require.Equal(t, want, got.ID)
		}
	}
	f(a, a) // though another one has it as its name
	f("web", a)
	f("/web", a)
	f("abc1", b) // a name before a prefix
	f("abc2", b)
	f("abc", "several")
	f("e", d)
	f("we", "none")
	f("WEB", "none")
	f("ABC2", "none")
	f("", "none")
	f("x", "none")
	f("link/x", "none")
	f("f", "none")
	// As if the hidden were not there.
	f("web", "none", a)
	f("abc", b, a)
	f("abc1", a, b)
	f(a, c, a)
	f("abc", "none", a, b)
}

func TestParseContainers(t *testing.T) {
	id := hexID("a")
	f := func(text string, count int) {
		t.Helper()
		table, err := engine.ParseContainers(strings.NewReader(text))
		if count < 0 {
			require.ErrorIs(t, err, engine.ErrUnexpected, text)
			return
		}
		require.NoError(t, err)
		require.Len(t, table.All(), count)
	}
	f(`[]`, 0)
	f(`[{"Id":"`+id+`","Names":null,"Labels":null}]`, 1)
	f(`[{"Id":"`+id+`"},{"Id":"`+hexID("b")+`"}] `, 2)
	f(``, -1)
	f(`null`, -1)
	f(`{}`, -1)
	f(`[{"Id":"short"}]`, -1)
	f(`[{"Id":"`+strings.ToUpper(id)+`"}]`, -1)
	f(`[{"Id":1}]`, -1)
	f(`[{"Id":"`+id+`","Labels":["x"]}]`, -1)
	f(`[{"Id":"`+id+`"}`, -1)
	f(`[{"Id":"`+id+`"}] []`, -1)
	f(`[{"Id":"`+id+`","Image":"`+strings.Repeat("x", 17<<20)+`"}]`, -1)

	// Labels are cut, but there may be many.
	var labels, many strings.Builder
	for n := range 1000 {
		fmt.Fprintf(&labels, `%c"l%d":%q`, " ,"[min(n, 1)], n, strings.Repeat("x", 5000))
	}
	for n := range 20 {
		fmt.Fprintf(&many, `%c{"Id":"%064x","Labels":{%s}}`, "[,"[min(n, 1)], n, labels.String())
	}
	_, err := engine.ParseContainers(strings.NewReader(many.String() + "]"))
	require.ErrorIs(t, err, engine.ErrTable)
}

func FuzzParseContainers(f *testing.F) {
	f.Add(`[{"Id":"` + hexID("a") + `","Names":["/a"],"Labels":{"a":"b"}},{"Id":"` + hexID("b") + `"}]`)
	f.Fuzz(func(t *testing.T, text string) {
		table, err := engine.ParseContainers(strings.NewReader(text))
		if err != nil {
			require.Nil(t, table)
			return
		}
		for _, c := range table.All() {
			got, err := table.Resolve(c.ID, nil)
			require.NoError(t, err)
			require.Equal(t, c.ID, got.ID)
			require.NotContains(t, c.Name, "/")
		}
	})
}

func TestParseChange(t *testing.T) {
	f := func(event, id string, gone, ok bool) {
		t.Helper()
		gotID, gotGone, err := engine.ParseChange([]byte(event))
		require.Equal(t, ok, err == nil)
		require.Equal(t, id, gotID)
		require.Equal(t, gone, gotGone)
	}
	id := hexID("a")
	f(`{"Type":"container","Action":"start","Actor":{"ID":"`+id+`"}}`, id, false, true)
	f(`{"Type":"container","Action":"destroy","Actor":{"ID":"`+id+`"}}`, id, true, true)
	f(`{"Type":"container","Action":"exec_create: sh -c x","Actor":{"ID":"`+id+`"}}`, "", false, true)
	f(`{"Type":"network","Action":"create","Actor":{"ID":"`+id+`"}}`, "", false, true)
	f(`{"Type":"container","Action":"start","Actor":{"ID":"../x"}}`, "", false, false)
	f(`{"Type":1}`, "", false, false)
}

func FuzzParseChange(f *testing.F) {
	f.Add(`{"Type":"container","Action":"destroy","Actor":{"ID":"` + hexID("a") + `"}}`)
	f.Add(`{"Type":"container","Action":"start","Actor":{"ID":"x"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		id, gone, err := engine.ParseChange([]byte(text))
		if id == "" {
			require.False(t, gone)
			return
		}
		require.NoError(t, err)
		require.Regexp(t, `^[0-9a-f]{64}$`, id)
	})
}
