package machine

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBootKillsMachineAtDeadline(t *testing.T) {
	fakeMachine(t, "echo TALLYMAN-VM: begin a 1; exec /bin/sleep 600")
	start := time.Now()
	rep, err := Machine{}.Boot(t.Context(), 300*time.Millisecond, io.Discard)
	require.ErrorIs(t, err, ErrDeadline)
	require.Less(t, time.Since(start), time.Minute)
	require.ErrorIs(t, rep.Verdict([]string{"a"}), ErrNoEnd)
}

func TestBootReportsMachineError(t *testing.T) {
	fakeMachine(t, "exit 3")
	_, err := Machine{}.Boot(t.Context(), time.Minute, io.Discard)
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 3, exit.ExitCode())
}

func TestBootNamesMissingEmulator(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Machine{}.Boot(t.Context(), time.Minute, io.Discard)
	require.ErrorIs(t, err, exec.ErrNotFound)
	require.ErrorContains(t, err, "qemu-system-x86")
}

func TestFetchKernelNamesWhatAptLacks(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\necho E: Unable to locate package; exit 100\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "apt-get"), []byte(script), 0o755))
	t.Setenv("PATH", bin)
	cache := t.TempDir()
	_, err := FetchKernel(t.Context(), Kernel{Name: "9.9", Package: "linux-image-9.9.9-1-amd64"}, cache)
	require.ErrorIs(t, err, ErrKernelAbsent)
	require.ErrorContains(t, err, "linux-image-9.9.9-1-amd64")
	left, err := os.ReadDir(cache)
	require.NoError(t, err)
	require.Empty(t, left, "what did not work leaves nothing behind")
}

func TestCheckStatic(t *testing.T) {
	require.ErrorIs(t, CheckStatic("/bin/ls"), ErrNotStatic)
}

// fakeMachine puts a script in the place of the emulator: the wire between them is its standard output.
func fakeMachine(t *testing.T, script string) {
	t.Helper()
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "qemu-system-x86_64"), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	t.Setenv("PATH", bin)
}

func TestArguments(t *testing.T) {
	m := Machine{Vmlinuz: "/k", Memory: 512, Words: []string{"root=/dev/nvme0n1"}, Disks: []Disk{{File: "/a", Lost: true}, {File: "/b"}}}
	text := strings.Join(m.arguments(), " ")
	require.Contains(t, text, "-m 512 ")
	require.Contains(t, text, "file=/a,if=none,id=disk0,format=raw,cache=unsafe,snapshot=on -device nvme-ns,bus=nvme0,drive=disk0,nsid=1")
	require.Contains(t, text, "file=/b,if=none,id=disk1,format=raw,cache=unsafe -device nvme-ns,bus=nvme0,drive=disk1,nsid=2")
	require.Contains(t, text, "loglevel=1 root=/dev/nvme0n1")
	require.NotContains(t, text, "-initrd")
	require.NotContains(t, text, "kvm")
}

func TestParseMirror(t *testing.T) {
	got, err := parseMirror("http://mirror.test/debian-security\nhttp://mirror.test/debian\nhttp://other.test/debian\n")
	require.NoError(t, err)
	require.Equal(t, "http://mirror.test/debian", got)
	_, err = parseMirror("http://mirror.test/ubuntu\n")
	require.ErrorIs(t, err, ErrNoMirror)
}

func TestBuildNamesPackageWithoutTests(t *testing.T) {
	root, err := RepositoryRoot(t.Context())
	require.NoError(t, err)
	b := TestBinary{Root: root, Package: "test/vm/selftest", Tag: "remove_all_sd", Output: filepath.Join(t.TempDir(), "package.test")}
	require.ErrorIs(t, b.Build(t.Context()), ErrNoBinary)
}
