package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/test/vm/machine"
)

// emptyHost is a root folder with a shell and nothing else: no systemctl, no systemd, as in an image that is being made.
func emptyHost(t *testing.T) string {
	t.Helper()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "busybox", "dpkg", "rpm")
	busybox, err := exec.LookPath("busybox")
	require.NoError(t, err)
	require.NoError(t, machine.CheckStatic(busybox))
	dir := t.TempDir()
	for _, folder := range []string{"bin", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/lib/rpm"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, folder), 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "var/lib/dpkg/status"), nil, 0o644))
	require.NoError(t, machine.CopyFile(busybox, filepath.Join(dir, "bin/busybox"), 0o755))
	for _, name := range []string{"sh", "rm"} {
		require.NoError(t, os.Symlink("busybox", filepath.Join(dir, "bin", name)))
	}
	return dir
}

// recordedBefore is something in the state directory.
func recordedBefore(t *testing.T, host string) string {
	t.Helper()
	file := filepath.Join(host, "var/lib/tallyman/recorder/something")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	return file
}

// Where somebody only unpacks, the scripts of the .deb start nothing and end well.
func TestDebScriptsWithoutSystemd(t *testing.T) {
	host := emptyHost(t)
	deb := makePackages(t, "amd64").deb
	dpkg := func(args ...string) {
		t.Helper()
		output(t, "dpkg", append([]string{"--root=" + host, "--force-architecture", "--force-unsafe-io"}, args...)...)
	}
	dpkg("--install", deb)
	require.FileExists(t, filepath.Join(host, "usr/bin/tallyman"))
	kept := recordedBefore(t, host)
	config := filepath.Join(host, "etc/tallyman/config.yaml")
	require.NoError(t, os.WriteFile(config, []byte("# edited\n"), 0o644))
	dpkg("--install", deb)
	require.Equal(t, "# edited\n", read(t, config))
	dpkg("--remove", "tallyman")
	require.NoFileExists(t, filepath.Join(host, "usr/bin/tallyman"))
	require.FileExists(t, kept)
	require.Equal(t, "# edited\n", read(t, config))
	dpkg("--purge", "tallyman")
	for _, path := range []string{"var/lib/tallyman", "etc/tallyman"} {
		require.NoDirExists(t, filepath.Join(host, path))
	}
}

// The same for the .rpm, which has no purge.
func TestRPMScriptsWithoutSystemd(t *testing.T) {
	host := emptyHost(t)
	made := makePackages(t, "amd64").rpm
	rpm := func(args ...string) {
		t.Helper()
		output(t, "rpm", append([]string{"--root=" + host, "--nodeps", "--force-debian"}, args...)...)
	}
	rpm("--install", "--ignorearch", made)
	require.FileExists(t, filepath.Join(host, "usr/bin/tallyman"))
	kept := recordedBefore(t, host)
	config := filepath.Join(host, "etc/tallyman/config.yaml")
	require.NoError(t, os.WriteFile(config, []byte("# edited\n"), 0o644))
	rpm("--upgrade", "--ignorearch", "--force", made)
	require.Equal(t, "# edited\n", read(t, config))
	rpm("--erase", "tallyman")
	require.NoFileExists(t, filepath.Join(host, "usr/bin/tallyman"))
	require.FileExists(t, kept)
	require.Equal(t, "# edited\n", read(t, config+".rpmsave"))
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}
