package web_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/web"
)

func TestServe(t *testing.T) {
	view := newView(t)
	check := func(path, contentType, begins string) {
		t.Helper()
		answer := get(view, path, nil)
		if answer.Code != http.StatusOK {
			t.Fatalf("%s: status %d", path, answer.Code)
		}
		if got := answer.Header().Get("Content-Type"); got != contentType {
			t.Errorf("%s: type %q, want %q", path, got, contentType)
		}
		if !strings.HasPrefix(answer.Body.String(), begins) {
			t.Errorf("%s begins with %.60q", path, answer.Body.String())
		}
	}
	check("/", "text/html; charset=utf-8", "<!doctype html>")
	check("/index.html", "text/html; charset=utf-8", "<!doctype html>")
	check("/app.css", "text/css; charset=utf-8", "/* The web view.")
	check("/icon.svg", "image/svg+xml", "<svg")
	check("/js/app.mjs", "text/javascript; charset=utf-8", "// The web view")
	check("/vendor/uPlot.iife.min.js", "text/javascript; charset=utf-8", "/*! https://github.com/leeoniya/uPlot (v1.6.32)")
	check("/vendor/LICENSE.htm", "text/plain; charset=utf-8", "")
}

func TestServeUnknown(t *testing.T) {
	view := newView(t)
	for _, path := range []string{"/missing", "/js", "/js/", "/static/app.css", "/../view.go", "/app.css/"} {
		if code := get(view, path, nil).Code; code != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, code)
		}
	}
	post := httptest.NewRecorder()
	view.ServeHTTP(post, httptest.NewRequest(http.MethodPost, "/", nil))
	if post.Code != http.StatusMethodNotAllowed || post.Header().Get("Allow") == "" {
		t.Errorf("POST: status %d, Allow %q", post.Code, post.Header().Get("Allow"))
	}
}

func TestServeCompressed(t *testing.T) {
	view := newView(t)
	plain := get(view, "/js/app.mjs", nil)
	packed := get(view, "/js/app.mjs", map[string]string{"Accept-Encoding": "br, gzip;q=0.8"})
	if got := packed.Header().Get("Content-Encoding"); got != "gzip" {
		t.Fatalf("encoding %q", got)
	}
	if packed.Body.Len() >= plain.Body.Len() {
		t.Errorf("gzip has %d bytes, plain %d", packed.Body.Len(), plain.Body.Len())
	}
	reader, err := gzip.NewReader(packed.Body)
	require.NoError(t, err)
	text, err := io.ReadAll(reader)
	require.NoError(t, err)
	if !bytes.Equal(text, plain.Body.Bytes()) {
		t.Error("the compressed file holds another text")
	}
	if plain.Header().Get("ETag") == packed.Header().Get("ETag") {
		t.Error("two encodings share one tag")
	}
	refused := get(view, "/js/app.mjs", map[string]string{"Accept-Encoding": "gzip;q=0"})
	if got := refused.Header().Get("Content-Encoding"); got != "" {
		t.Errorf("refused gzip and got %q", got)
	}
}

func TestServeNotModified(t *testing.T) {
	view := newView(t)
	tag := get(view, "/app.css", nil).Header().Get("ETag")
	check := func(header string, want int) {
		t.Helper()
		answer := get(view, "/app.css", map[string]string{"If-None-Match": header, "Accept-Encoding": "gzip"})
		if answer.Code != want {
			t.Errorf("If-None-Match %s: status %d, want %d", header, answer.Code, want)
		}
		if want == http.StatusNotModified && answer.Body.Len() > 0 {
			t.Errorf("If-None-Match %s: 304 with %d bytes", header, answer.Body.Len())
		}
	}
	check(tag, http.StatusNotModified)
	check(`"other", W/`+tag, http.StatusNotModified)
	check(strings.TrimSuffix(tag, `"`)+`-gzip"`, http.StatusNotModified)
	check(`"other"`, http.StatusOK)
	if other := get(view, "/icon.svg", nil).Header().Get("ETag"); other == tag {
		t.Error("two files share one tag")
	}
}

func TestServeHead(t *testing.T) {
	answer := httptest.NewRecorder()
	newView(t).ServeHTTP(answer, httptest.NewRequest(http.MethodHead, "/", nil))
	if answer.Code != http.StatusOK || answer.Body.Len() > 0 || answer.Header().Get("Content-Length") == "0" {
		t.Errorf("HEAD: status %d, %d bytes, Content-Length %s", answer.Code, answer.Body.Len(), answer.Header().Get("Content-Length"))
	}
}

// What the policy default-src 'self' would block must not be in a page, and
// what could turn a name of a container into markup not in a module.
var (
	inlineScript = regexp.MustCompile(`(?i)<script(>|[^>]*[^/]>\s*[^<\s])`)
	inlineStyle  = regexp.MustCompile(`(?i)<style|\sstyle\s*=|\son\w+\s*=`)
	otherHost    = regexp.MustCompile(`(?i)(src|href|action)\s*=\s*["']?(https?:)?//`)
	asMarkup     = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|\beval\(|new Function|setAttribute\("style"|style="`)
)

func TestPageKeepsPolicy(t *testing.T) {
	answer := get(newView(t), "/", nil)
	policy := answer.Header().Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'self'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	page := answer.Body.String()
	for name, form := range map[string]*regexp.Regexp{"inline script": inlineScript, "inline style": inlineStyle, "another host": otherHost} {
		if found := form.FindString(page); found != "" {
			t.Errorf("index.html has %s: %q", name, found)
		}
	}
}

func TestModulesWriteNoMarkup(t *testing.T) {
	eachModule(t, func(name, text string) {
		if found := asMarkup.FindString(text); found != "" {
			t.Errorf("%s uses %q", name, found)
		}
	})
}

// TestModulesAreFound follows every import, as a browser would.
func TestModulesAreFound(t *testing.T) {
	imports := regexp.MustCompile(`from "([^"]+)"`)
	view := newView(t)
	eachModule(t, func(name, text string) {
		for _, m := range imports.FindAllStringSubmatch(text, -1) {
			base := httptest.NewRequest(http.MethodGet, "/"+strings.TrimPrefix(name, "static/"), nil).URL
			target, err := base.Parse(m[1])
			require.NoError(t, err)
			if code := get(view, target.Path, nil).Code; code != http.StatusOK {
				t.Errorf("%s imports %s: status %d", name, m[1], code)
			}
		}
	})
}

// TestDarkTwice keeps the two copies of the dark colours equal, and every colour
// of the light theme in both.
func TestDarkTwice(t *testing.T) {
	text, err := os.ReadFile("static/app.css")
	require.NoError(t, err)
	colours := func(head string) string {
		_, rest, found := strings.Cut(string(text), head+" {")
		require.True(t, found, "no %s", head)
		body, _, _ := strings.Cut(rest, "}")
		return strings.Join(strings.Fields(body), " ")
	}
	system, chosen := colours(`:root:not([data-theme="light"])`), colours(`:root[data-theme="dark"]`)
	if system != chosen {
		t.Errorf("dark by the system and by the switch differ:\n%s\n%s", system, chosen)
	}
	name := regexp.MustCompile(`--[\w-]+:`)
	for _, want := range name.FindAllString(colours(":root"), -1) {
		if !strings.Contains(chosen, want) {
			t.Errorf("the dark theme lacks %s", want)
		}
	}
}

func newView(t *testing.T) *web.View {
	t.Helper()
	view, err := web.New()
	require.NoError(t, err)
	return view
}

func get(view http.Handler, path string, headers map[string]string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.URL.Path = path
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	view.ServeHTTP(answer, r)
	return answer
}

func eachModule(t *testing.T, each func(name, text string)) {
	t.Helper()
	n := 0
	err := fs.WalkDir(os.DirFS("."), "static/js", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		n++
		each(name, string(text))
		return err
	})
	require.NoError(t, err)
	require.Greater(t, n, 20, "the modules are somewhere else")
}
