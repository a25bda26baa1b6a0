package bundle_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const workerID = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

// moment is the one of the golden capture.
func moment() time.Time { return time.Date(2026, 11, 22, 3, 12, 7, 123e6, time.UTC) }

func manifest() *bundle.Manifest {
	return &bundle.Manifest{
		ID: "one", Created: moment(), Verdict: "What happened.",
		Window: bundle.Window{From: moment().Add(-time.Minute), To: moment()},
	}
}

// made writes a capture and returns its path.
func made(t *testing.T, add func(w *bundle.Writer)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "one.tmcap")
	w, err := bundle.Create(path, moment())
	require.NoError(t, err)
	add(w)
	size, err := w.Finish(manifest())
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, info.Size(), size)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	return path
}

func TestRoundTrip(t *testing.T) {
	tree := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(tree, "01X", "chunks"), 0o755))
	chunk := bytes.Repeat([]byte{7}, 100_000)
	require.NoError(t, os.WriteFile(filepath.Join(tree, "01X", "chunks", "000001"), chunk, 0o600))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(tree, "link")))
	path := made(t, func(w *bundle.Writer) {
		require.NoError(t, w.AddTree(bundle.MetricsDir, tree))
		require.NoError(t, w.AddTree(bundle.EventsDir, filepath.Join(tree, "not-there")))
		require.NoError(t, w.AddJSON("state/host.json", map[string]int{"a": 1}))
		require.NoError(t, w.Add("report.html", nil))
		for _, name := range []string{"report.html", "manifest.json", "../x", "/x", "a/", "", ".", `a\b`, "a//b", "c:x"} {
			require.Error(t, w.Add(name, nil), "%q", name)
		}
	})
	r, err := bundle.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	require.NoError(t, r.Verify())
	require.Equal(t, []string{"metrics/01X/chunks/000001", "report.html", "state/host.json"}, r.Names(), "links are not followed")
	require.Equal(t, "What happened.", r.Manifest.Verdict)
	content, err := r.ReadFile("metrics/01X/chunks/000001")
	require.NoError(t, err)
	require.Equal(t, chunk, content)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Greater(t, info.Size(), int64(len(chunk)), "chunks are stored")
	_, err = r.ReadFile("no/such")
	require.ErrorIs(t, err, fs.ErrNotExist)

	to := t.TempDir()
	require.NoError(t, r.Extract(to, func(name string) bool { return strings.HasPrefix(name, "state/") }))
	require.FileExists(t, filepath.Join(to, "state", "host.json"))
	require.NoFileExists(t, filepath.Join(to, "report.html"))
	require.Error(t, r.Extract(to, nil), "what is there is not written over")
}

func TestDiscardLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	w, err := bundle.Create(filepath.Join(dir, "one.tmcap"), moment())
	require.NoError(t, err)
	require.NoError(t, w.Add("a", []byte("b")))
	require.NoError(t, w.Discard())
	require.NoError(t, w.Discard())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)

	w, err = bundle.Create(filepath.Join(dir, "one.tmcap"), moment())
	require.NoError(t, err)
	_, err = w.Finish(&bundle.Manifest{ID: "../x"})
	require.Error(t, err)
	entries, err = os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries, "after a manifest that cannot be")
}

// The golden capture was not written by this package: Python's zipfile made it
// from the description of format 1. It is never to be written anew.
func TestGoldenVersion1(t *testing.T) {
	r, err := bundle.Open("testdata/v1.tmcap")
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	require.NoError(t, r.Verify())
	m := r.Manifest
	want := bundle.Trigger{
		Kind: "oom", At: moment(), Reason: "The OOM killer killed worker of the container.",
		Container: bundle.Container{ID: workerID, Name: "worker", Image: "shop/worker:1.4", Service: "worker", Project: "shop"},
		Process:   &bundle.Process{PID: 211, VPID: 7, Name: "worker", RSS: 512 << 20},
	}
	if diff := cmp.Diff([]bundle.Trigger{want}, m.Triggers); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	require.Equal(t, "20261122T031207.123Z-oom-worker", m.ID)
	require.Equal(t, bundle.Host{Name: "host-7", Kernel: "6.1.0", Agent: "0.9.0"}, m.Host)
	require.Equal(t, []string{workerID}, m.Scope.Containers)
	require.True(t, m.First)
	require.Equal(t, 12*time.Minute, m.Window.To.Sub(m.Window.From))
	require.Equal(t, []bundle.Redaction{{Where: "state", What: "argument", Count: 2}}, m.Redactions)
	require.Equal(t, 2*time.Second, m.Gaps[0].To.Sub(m.Gaps[0].From))
	require.Equal(t, map[string]uint64{"metrics: too_old": 3}, m.Drops)
	require.Equal(t, []bundle.Missing{{What: "inspect", Why: "no such object"}}, m.Missing)
	require.Len(t, r.Names(), 11)
	events, err := r.ReadFile("state/cgroup/" + workerID + "/memory.events")
	require.NoError(t, err)
	require.Contains(t, string(events), "oom_kill 1")
}

func TestFormatOfTheFuture(t *testing.T) {
	_, err := bundle.ParseManifest([]byte(`{"format":2,"id":["other"],"window":"other"}`))
	require.ErrorIs(t, err, bundle.ErrNewer)
	require.ErrorContains(t, err, "format 2")
	require.ErrorContains(t, err, "up to 1")
	require.ErrorContains(t, err, "newer one")
}

func TestParseManifestRefuses(t *testing.T) {
	f := func(text string) {
		t.Helper()
		_, err := bundle.ParseManifest([]byte(text))
		require.ErrorIs(t, err, bundle.ErrMalformed)
	}
	f("")
	f("null")
	f(`{"format":0,"id":"x"}`)
	f(`{"format":-1,"id":"x"}`)
	f(`{"format":1}`)
	f(`{"format":1,"id":"../x"}`)
	f(`{"format":1,"id":".x"}`)
	f(`{"format":1,"id":"x","window":{"from":"2026-01-02T00:00:00Z","to":"2026-01-01T00:00:00Z"}}`)
	f(`{"format":1,"id":"x","files":[{"name":"../a"}]}`)
	f(`{"format":1,"id":"x","files":[{"name":"a","size":-1}]}`)
	f(`{"format":1,"id":"x","files":[{"name":"a"},{"name":"a"}]}`)
}

// entry is a member of a capture made by hand.
type entry struct {
	name    string
	content string
	mode    fs.FileMode
	// size is what the zip claims, if it is not the truth.
	size uint64
}

// forged writes a zip member by member.
func forged(t *testing.T, entries ...entry) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "forged.tmcap")
	file, err := os.Create(path)
	require.NoError(t, err)
	w := zip.NewWriter(file)
	for _, e := range entries {
		head := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		if e.mode != 0 {
			head.SetMode(e.mode)
		}
		if e.size != 0 {
			head.Method = zip.Store
			head.CompressedSize64, head.UncompressedSize64 = e.size, e.size
			head.CRC32 = crc32.ChecksumIEEE([]byte(e.content))
			to, err := w.CreateRaw(head)
			require.NoError(t, err)
			_, err = io.WriteString(to, e.content)
			require.NoError(t, err)
			continue
		}
		to, err := w.CreateHeader(head)
		require.NoError(t, err)
		_, err = io.WriteString(to, e.content)
		require.NoError(t, err)
	}
	require.NoError(t, errors.Join(w.Close(), file.Close()))
	return path
}

const plainManifest = `{"format":1,"id":"x","files":[]}`

func TestForgedCaptures(t *testing.T) {
	small := bundle.Limits{Members: 3, Total: 10_000, Deflated: 5_000, Manifest: 1_000}
	f := func(says string, entries ...entry) {
		t.Helper()
		_, err := bundle.OpenLimited(forged(t, entries...), small)
		require.ErrorIs(t, err, bundle.ErrMalformed)
		require.ErrorContains(t, err, says)
	}
	whole := entry{name: "manifest.json", content: plainManifest}
	f("elsewhere", whole, entry{name: "../evil", content: "x"})
	f("elsewhere", whole, entry{name: "/etc/cron.d/evil", content: "x"})
	f("elsewhere", whole, entry{name: `..\evil`, content: "x"})
	f("elsewhere", whole, entry{name: "a/../../evil", content: "x"})
	f("elsewhere", whole, entry{name: "dir/"})
	f("no regular file", whole, entry{name: "link", content: "/etc/passwd", mode: fs.ModeSymlink | 0o777})
	f("comes twice", whole, entry{name: "a"}, entry{name: "a"})
	f("members", whole, entry{name: "a"}, entry{name: "b"}, entry{name: "c"})
	f("unpacks to", whole, entry{name: "bomb", content: strings.Repeat("0", 5_001)})
	f("when unpacked", whole, entry{name: "a", content: strings.Repeat("0", 5_000)}, entry{name: "b", content: strings.Repeat("0", 5_000)})
	f("when unpacked", whole, entry{name: "big", size: 1 << 40})
	f("not in the manifest", whole, entry{name: "a"})
	f("missing", entry{name: "manifest.json", content: `{"format":1,"id":"x","files":[{"name":"a"}]}`})
	f("missing", entry{name: "a"})
	f("the manifest says 2", entry{name: "manifest.json", content: `{"format":1,"id":"x","files":[{"name":"a","size":2}]}`}, entry{name: "a", content: "x"})
	f("manifest", entry{name: "manifest.json", content: strings.Repeat(" ", 1_001) + plainManifest})
}

func TestWrongSum(t *testing.T) {
	path := forged(t, entry{name: "a", content: "x"},
		entry{name: "manifest.json", content: `{"format":1,"id":"x","files":[{"name":"a","size":1,"sha256":"00"}]}`})
	r, err := bundle.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	require.ErrorIs(t, r.Verify(), bundle.ErrMalformed)
	_, err = r.ReadFile("a")
	require.ErrorContains(t, err, "SHA-256")
}

// Whatever byte of a capture is broken, nothing wrong is read from it: it is
// refused, or what is read is what was written.
func TestCorruptCapture(t *testing.T) {
	golden, err := os.ReadFile("testdata/v1.tmcap")
	require.NoError(t, err)
	want := contents(t, "testdata/v1.tmcap")
	path := filepath.Join(t.TempDir(), "broken.tmcap")
	refused := 0
	for i := 0; i < len(golden); i += 3 {
		broken := bytes.Clone(golden)
		broken[i] ^= 0x55
		require.NoError(t, os.WriteFile(path, broken, 0o600))
		r, err := bundle.Open(path)
		if err != nil {
			refused++
			continue
		}
		if err = r.Verify(); err != nil {
			require.ErrorIs(t, err, bundle.ErrMalformed)
			refused++
		} else if len(r.Names()) == len(want) {
			for name, content := range want {
				got, err := r.ReadFile(name)
				require.NoError(t, err)
				require.Equal(t, content, got, "byte %d, %s", i, name)
			}
		}
		require.NoError(t, r.Close())
	}
	require.Positive(t, refused)
	for _, n := range []int{0, 1, 100, len(golden) / 2, len(golden) - 1} {
		require.NoError(t, os.WriteFile(path, golden[:n], 0o600))
		_, err := bundle.Open(path)
		require.ErrorIs(t, err, bundle.ErrMalformed, "cut after %d bytes", n)
	}
	_, err = bundle.Open(path + "x")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func contents(t *testing.T, path string) map[string][]byte {
	t.Helper()
	r, err := bundle.Open(path)
	require.NoError(t, err)
	all := map[string][]byte{}
	for _, name := range r.Names() {
		all[name], err = r.ReadFile(name)
		require.NoError(t, err)
	}
	require.NoError(t, r.Close())
	return all
}

func TestRedactTakesSecretsOut(t *testing.T) {
	const hidden = "Zq7-hunter2-Zq7"
	path := made(t, func(w *bundle.Writer) {
		require.NoError(t, w.AddJSON("state/processes.json", map[string]any{"argv": []string{"app", "--password", hidden, "plain"}}))
		require.NoError(t, w.Add("oom/kmsg.txt", []byte("token="+hidden+"\nKilled process 2\n")))
		require.NoError(t, w.Add("report.html", []byte(hidden)))
		require.NoError(t, w.Add("events/1.tev", []byte(hidden)))
		require.NoError(t, w.Add("metrics/01X/index", []byte{1, 2, 3}))
	})
	to := filepath.Join(t.TempDir(), "two.tmcap")
	m, err := bundle.Redact(bundle.RedactOptions{From: path, To: to, WithoutEvents: true})
	require.NoError(t, err)
	require.Len(t, m.Redactions, 2)
	all := contents(t, to)
	require.Len(t, all, 3)
	for name, content := range all {
		require.NotContains(t, string(content), hidden, name)
	}
	require.Equal(t, []byte{1, 2, 3}, all["metrics/01X/index"])
	require.Contains(t, string(all["oom/kmsg.txt"]), "Killed process 2")
	require.Contains(t, string(all["state/processes.json"]), "plain")

	// In place, and without any argument.
	_, err = bundle.Redact(bundle.RedactOptions{From: path, To: path, WithoutArguments: true})
	require.NoError(t, err)
	all = contents(t, path)
	require.NotContains(t, string(all["state/processes.json"]), "plain")
	require.Contains(t, string(all["events/1.tev"]), hidden, "events stay unless they are left out")
}

func TestListIsNewestFirst(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"b", "a", "c"} {
		w, err := bundle.Create(filepath.Join(dir, name+".tmcap"), moment())
		require.NoError(t, err)
		m := manifest()
		m.ID, m.Created = name, moment().Add(time.Duration(i)*time.Second)
		_, err = w.Finish(m)
		require.NoError(t, err)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "broken.tmcap"), []byte("x"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "other"), nil, 0o600))
	entries, err := bundle.List(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, filepath.Base(e.Path))
	}
	require.Equal(t, []string{"c.tmcap", "a.tmcap", "b.tmcap", "broken.tmcap"}, names)
	require.ErrorIs(t, entries[3].Err, bundle.ErrMalformed)
	none, err := bundle.List(filepath.Join(dir, "no"))
	require.NoError(t, err)
	require.Empty(t, none)
}

// What is taken for a manifest can be written and read again, and means the same.
func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(plainManifest))
	f.Add([]byte(`{"format":2}`))
	if r, err := bundle.Open("testdata/v1.tmcap"); err == nil {
		text, _ := json.Marshal(r.Manifest)
		f.Add(text)
		_ = r.Close()
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := bundle.ParseManifest(text)
		if err != nil {
			if !errors.Is(err, bundle.ErrMalformed) && !errors.Is(err, bundle.ErrNewer) {
				t.Errorf("an error of its own kind: %v", err)
			}
			return
		}
		for _, file := range m.Files {
			if !filepath.IsLocal(file.Name) {
				t.Errorf("%q leads elsewhere", file.Name)
			}
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatalf("%q cannot be written: %v", text, err)
		}
		back, err := bundle.ParseManifest(again)
		if err != nil {
			t.Fatalf("%s cannot be read again: %v", again, err)
		}
		if diff := cmp.Diff(m, back, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
			t.Errorf("-first +again\n%s", diff)
		}
	})
}
