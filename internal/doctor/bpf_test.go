package doctor

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestLockdown(t *testing.T) {
	f := func(text string, want Status, found string) {
		t.Helper()
		root := t.TempDir()
		path := filepath.Join(root, "sys", lockdownFile)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		r := named(t, Options{Roots: hostfs.NewRoots(root)}.checkLockdown(t.Context()))
		require.Equal(t, want, r.Status, "%+v", r)
		require.Equal(t, found, r.Found)
	}
	f("[none] integrity confidentiality\n", Pass, "none")
	f("none [integrity] confidentiality\n", Pass, "integrity")
	f("none integrity [confidentiality]\n", Fail, "confidentiality")
	f("[none] confidentiality\n", Pass, "none")
	f("none [somethingnew]\n", Unknown, "somethingnew")
	f("none integrity confidentiality\n", Unknown, "not understood")
	f("[]\n", Unknown, "not understood")
	f("", Unknown, "not understood")
	missing := named(t, Options{Roots: hostfs.NewRoots(t.TempDir())}.checkLockdown(t.Context()))
	require.Equal(t, Unknown, missing.Status)
	require.Contains(t, missing.Error, "file does not exist")
}

// The word that is found stands in brackets.
func FuzzParseLockdown(f *testing.F) {
	for _, text := range []string{"[none] integrity confidentiality\n", "none [integrity]", "[]", "[", ""} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		mode, err := parseLockdown(b)
		if err == nil && (mode == "" || !bytes.Contains(b, []byte("["+mode+"]"))) || err != nil && mode != "" {
			t.Fatalf("%q gives %q, %v", b, mode, err)
		}
	})
}

func TestReadBTF(t *testing.T) {
	f := func(content []byte) error {
		path := filepath.Join(t.TempDir(), "vmlinux")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		size, err := readBTF(path)
		if err == nil {
			require.Equal(t, int64(len(content)), size)
		}
		return err
	}
	require.NoError(t, f([]byte{0x9f, 0xeb, 1, 0})) // little endian, as all that the programs are built for
	require.ErrorIs(t, f([]byte("no types")), errNotBTF)
	require.Error(t, f(nil))
	_, err := readBTF(filepath.Join(t.TempDir(), "missing"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestJudgePrograms(t *testing.T) {
	refused := func(what string) error {
		return &hostfs.NotSupportedError{Feature: "BPF program " + what, Remedy: "run as root", Err: unix.EPERM}
	}
	find := func(results []Result, name string) Result {
		for _, r := range results {
			checkResult(t, r)
			if r.Name == "bpf.program."+name {
				return r
			}
		}
		t.Errorf("no result for %s", name)
		return Result{}
	}
	all := map[string]error{}
	for _, p := range programs {
		all[p.name] = nil
	}
	for _, r := range judgePrograms(all, nil) {
		require.Equal(t, Pass, r.Status)
	}

	all["on_fork"], all["on_oom"], all["on_rmdir"], all["on_new"] = refused("on_fork"), refused("on_oom"), errTest, refused("on_new")
	results := judgePrograms(all, nil)
	require.Len(t, results, len(programs)+1)
	fork := find(results, "on_fork")
	require.Equal(t, Result{
		Name: "bpf.program.on_fork", Title: "BPF program on_fork", Status: Fail, Found: "refused",
		Meaning: lostEssential, Remedy: "Run as root.", Error: unix.EPERM.Error(),
	}, fork)
	require.Equal(t, Warn, find(results, "on_oom").Status)
	require.Equal(t, Unknown, find(results, "on_rmdir").Status, "an error that is no refusal")
	require.Equal(t, errTest.Error(), find(results, "on_rmdir").Error)
	require.Equal(t, Warn, find(results, "on_new").Status, "one that was added later")
	require.Equal(t, Pass, find(results, "on_exec").Status)

	results = judgePrograms(nil, refused("maps"))
	require.Len(t, results, len(programs))
	for _, r := range results {
		checkResult(t, r)
		require.Equal(t, Fail, r.Status)
		require.Equal(t, noStream, r.Meaning)
	}
}

// Each program of the stream has words here.
func TestEveryProgramIsKnown(t *testing.T) {
	testkit.NeedBPF(t)
	testkit.VerifyNoLeaks(t)
	results := options().tryPrograms()
	require.Len(t, results, len(programs))
	for i, r := range results {
		require.Equal(t, Pass, r.Status, "%+v", r)
		require.Equal(t, "bpf.program."+programs[i].name, r.Name)
		require.NotEmpty(t, programs[i].use)
	}
}
