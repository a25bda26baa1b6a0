package doctor

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

const headings = "entries  clashres found new invalid ignore delete chainlength\n"

// proc is a root with these files below /proc.
func proc(t *testing.T, files map[string]string) hostfs.Roots {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, "proc", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return hostfs.NewRoots(root)
}

func tableOf(t *testing.T, roots hostfs.Roots) Result {
	t.Helper()
	return named(t, Options{Roots: roots}.connections(nil).checkTable(t.Context()))
}

func TestConntrackTable(t *testing.T) {
	f := func(count, limit int, want Status, found string) {
		t.Helper()
		line := fmt.Sprintf("%08x  00000000 00000000 00000002\n", count)
		r := tableOf(t, proc(t, map[string]string{countFile: headings + line + line, limitFile: strconv.Itoa(limit) + "\n"}))
		require.Equal(t, want, r.Status, "%+v", r)
		require.Equal(t, found, r.Found)
		if want == Warn {
			require.Contains(t, r.Remedy, fmt.Sprintf("nf_conntrack_max=%d,", 2*limit))
		}
	}
	f(19, 262144, Pass, "19 of 262144 entries, 0 %")
	f(799, 1000, Pass, "799 of 1000 entries, 79 %")
	f(800, 1000, Warn, "800 of 1000 entries, 80 %")
	f(1000, 1000, Warn, "1000 of 1000 entries, 100 %")
	f(1001, 1000, Warn, "1001 of 1000 entries, 100 %")
	f(5000, 0, Pass, "5000 entries, without a limit")
}

func TestConntrackTableUnknown(t *testing.T) {
	r := tableOf(t, proc(t, nil))
	require.Equal(t, Pass, r.Status, "%+v", r)
	require.Equal(t, "conntrack is not loaded", r.Found)
	f := func(files map[string]string, want string) {
		t.Helper()
		r := tableOf(t, proc(t, files))
		require.Equal(t, Unknown, r.Status, "%+v", r)
		require.Contains(t, r.Error, want)
	}
	f(map[string]string{limitFile: "many\n"}, "nf_conntrack_max")
	f(map[string]string{limitFile: "1000\n", countFile: headings}, errNoCount.Error())
	f(map[string]string{limitFile: "1000\n", countFile: headings + "xyz 0\n"}, `entries "xyz"`)
	f(map[string]string{limitFile: "1000\n"}, "1/net/dev")
	// A kernel without the file of counters: only who is there can read the number.
	elsewhere := map[string]string{limitFile: "1000\n", ownCountFile: "7\n", "1/net/dev": ""}
	f(elsewhere, errElsewhere.Error())
	here := proc(t, map[string]string{limitFile: "1000\n", ownCountFile: "900\n", "1/net/none": ""})
	require.NoError(t, os.Symlink("/proc/self/net/dev", filepath.Join(here.Proc, "1/net/dev")))
	r = tableOf(t, here)
	require.Equal(t, Warn, r.Status, "%+v", r)
	require.Equal(t, "900 of 1000 entries, 90 %", r.Found)
}

// A count is in the second line.
func FuzzParseConntrackCount(f *testing.F) {
	for _, text := range []string{headings + "00000013  0\n00000013  0\n", headings, "", "\n\n", "\nffffffff", "\n1ffffffff 0"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		count, err := parseConntrackCount(b)
		if err != nil && count != 0 {
			t.Fatalf("%q gives %d, %v", b, count, err)
		}
		if err == nil && !bytes.Contains(bytes.ToLower(b), fmt.Appendf(nil, "%x", count)) {
			t.Fatalf("%q gives %d", b, count)
		}
	})
}
