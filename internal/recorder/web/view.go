package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed static
var static embed.FS

// policy lets the page load from its own address alone. The API sends the same
// with its answers.
const policy = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// minSaving is what gzip has to win, in bytes, to be worth its header and its
// second copy.
const minSaving = 128

// View holds the files as they are sent.
type View struct {
	files  map[string]*file // by the path of the request, "/" included
	report Report
}

type file struct {
	contentType string
	plain       []byte
	packed      []byte // gzip; nil where it saves nothing
	etag        string // of plain, without the quotes
}

// New reads, compresses and hashes the files and joins the report's script. An
// error is a defect of the build, not of the host.
func New() (*View, error) {
	root, err := fs.Sub(static, "static")
	if err != nil {
		return nil, fmt.Errorf("open web view: %w", err)
	}
	v := &View{files: map[string]*file{}}
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return v.add(root, name)
	})
	if err != nil {
		return nil, fmt.Errorf("read web view: %w", err)
	}
	v.files["/"] = v.files["/index.html"]
	if v.report, err = join(root); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *View) add(root fs.FS, name string) error {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return err
	}
	packed, err := pack(text)
	if err != nil {
		return fmt.Errorf("compress %s: %w", name, err)
	}
	sum := sha256.Sum256(text)
	// Twelve bytes of the hash tell any two versions of a file apart.
	etag := base64.RawURLEncoding.EncodeToString(sum[:12])
	v.files["/"+name] = &file{contentType: contentType(name), plain: text, packed: packed, etag: etag}
	return nil
}

// pack returns nil where the compressed form saves less than minSaving.
func pack(text []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if out.Len()+minSaving > len(text) {
		return nil, nil
	}
	return out.Bytes(), nil
}

// contentType does not ask the host's table of types, which may lack some and
// may be wrong: with nosniff a wrong type stops the page.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "text/plain; charset=utf-8" // licences, checksums
}

// ServeHTTP answers GET and HEAD. What the view does not have is 404: pages are
// told apart after the # of the address, which no server sees.
func (v *View) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the web view is read-only", http.StatusMethodNotAllowed)
		return
	}
	f := v.files[r.URL.Path]
	if f == nil {
		http.NotFound(w, r)
		return
	}
	f.serve(w, r)
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	body, etag := f.plain, `"`+f.etag+`"`
	if f.packed != nil {
		h.Set("Vary", "Accept-Encoding")
		if takesGzip(r.Header.Get("Accept-Encoding")) {
			// Other bytes need another tag.
			body, etag = f.packed, `"`+f.etag+`-gzip"`
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("Content-Type", f.contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", policy)
	h.Set("ETag", etag)
	// The browser asks each time, and gets 304: the view of an updated agent must
	// not run half from a cache.
	h.Set("Cache-Control", "no-cache")
	if matchesTag(r.Header.Get("If-None-Match"), f.etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // the client has gone away: nobody to tell
	}
}

// takesGzip reads Accept-Encoding; gzip with a weight of zero is a refusal.
func takesGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, weight, _ := strings.Cut(part, ";")
		if name = strings.TrimSpace(name); !strings.EqualFold(name, "gzip") && name != "*" {
			continue
		}
		_, q, weighted := strings.Cut(strings.ReplaceAll(weight, " ", ""), "q=")
		n, err := strconv.ParseFloat(q, 64)
		return !weighted || err != nil || n > 0
	}
	return false
}

// matchesTag compares by content: either encoding of the same file will do.
func matchesTag(header, etag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		tag := strings.TrimPrefix(strings.TrimSpace(part), "W/")
		tag = strings.Trim(tag, `"`)
		if tag == "*" || strings.TrimSuffix(tag, "-gzip") == etag {
			return true
		}
	}
	return false
}
