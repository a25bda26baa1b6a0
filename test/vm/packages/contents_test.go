package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// commit is the time of the packages' files; any will do.
const commit = "1700000000"

// both are the packages of one version.
type both struct{ deb, rpm string }

// makePackages packs stand-ins for the programs.
func makePackages(t *testing.T, arch string) both {
	t.Helper()
	testkit.NeedCommand(t, "go", "dpkg-deb", "rpm")
	programs, out := t.TempDir(), t.TempDir()
	for _, name := range []string{"tallyman", "tallymanctl"} {
		require.NoError(t, os.WriteFile(filepath.Join(programs, name), []byte("#!/bin/sh\necho "+name+"\n"), 0o755))
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(root(t), "scripts", "packages.sh"),
		"--arch", arch, "--version", "1.2.3-rc.1", "--binaries", programs, "--output", out)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+commit)
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", text)
	return both{single(t, out, "*.deb"), single(t, out, "*.rpm")}
}

func single(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	require.NoError(t, err)
	require.Len(t, found, 1, pattern)
	return found[0]
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s %q: %s", name, args, out)
	return string(out)
}

// files are those of both packages with the permissions that ls prints.
func files() map[string]string {
	return map[string]string{
		"/usr/bin/tallyman":                        "-rwxr-xr-x",
		"/usr/bin/tallymanctl":                     "-rwxr-xr-x",
		"/usr/lib/systemd/system/tallyman.service": "-rw-r--r--",
		"/usr/lib/tmpfiles.d/tallyman.conf":        "-rw-r--r--",
		"/etc/tallyman/config.yaml":                "-rw-r--r--",
		"/etc/tallyman/otlp.yaml":                  "-rw-r--r--",
		"/etc/tallyman/environment":                "-rw-------",
		"/usr/share/doc/tallyman/install.md":       "-rw-r--r--",
		"/usr/share/doc/tallyman/CHANGELOG.md":     "-rw-r--r--",
	}
}

// listed reads what ls, tar and rpm print: permissions first, owner and group somewhere, the path last. Folders are left
// out.
func listed(t *testing.T, text string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(line, "d") {
			continue
		}
		require.Regexp(t, `\broot[ /]+root\b`, line)
		found[strings.TrimPrefix(fields[len(fields)-1], ".")] = fields[0]
	}
	return found
}

func configurationFiles() []string {
	return []string{"/etc/tallyman/config.yaml", "/etc/tallyman/environment", "/etc/tallyman/otlp.yaml"}
}

func TestDeb(t *testing.T) {
	deb := makePackages(t, "amd64").deb
	require.Equal(t, "tallyman_1.2.3~rc.1_amd64.deb", filepath.Base(deb))
	field := func(name string) string { return strings.TrimSpace(output(t, "dpkg-deb", "--field", deb, name)) }
	require.Equal(t, "tallyman", field("Package"))
	require.Equal(t, "1.2.3~rc.1", field("Version"))
	require.Equal(t, "amd64", field("Architecture"))
	require.Empty(t, field("Depends"), "the programs are static")
	require.Equal(t, "ca-certificates", field("Recommends"))
	want := files()
	want["/usr/share/doc/tallyman/copyright"] = "-rw-r--r--"
	require.Equal(t, want, listed(t, output(t, "dpkg-deb", "--contents", deb)))
	require.Equal(t, configurationFiles(), strings.Fields(output(t, "dpkg-deb", "--info", deb, "conffiles")))
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		require.True(t, strings.HasPrefix(output(t, "dpkg-deb", "--info", deb, script), "#!/bin/sh\n"), script)
	}
}

func TestRPM(t *testing.T) {
	rpm := makePackages(t, "arm64").rpm
	require.Equal(t, "tallyman-1.2.3~rc.1-1.aarch64.rpm", filepath.Base(rpm))
	about := output(t, "rpm", "-qip", rpm)
	for field, value := range map[string]string{
		"Name": "tallyman", "Version": "1.2.3~rc.1", "Release": "1", "Architecture": "aarch64", "License": "Apache-2.0", "Build Host": "localhost",
	} {
		require.Regexp(t, regexp.MustCompile(`(?m)^`+field+` *: `+regexp.QuoteMeta(value)+`$`), about)
	}
	want := files()
	want["/usr/share/licenses/tallyman/LICENSE"] = "-rw-r--r--"
	require.Equal(t, want, listed(t, output(t, "rpm", "-qlvp", rpm)))
	require.Equal(t, configurationFiles(), strings.Fields(output(t, "rpm", "-qp", "--configfiles", rpm)))
	// 17 is a configuration file (1) that is not replaced (16): rpmfiFlags in rpmfiles.h.
	require.Contains(t, output(t, "rpm", "-qp", "--queryformat", "[%{FILENAMES} %{FILEFLAGS}\n]", rpm), "/etc/tallyman/config.yaml 17\n")
	scripts := output(t, "rpm", "-qp", "--scripts", rpm)
	for _, kind := range []string{"postinstall", "preuninstall", "postuninstall"} {
		require.Contains(t, scripts, kind+" scriptlet (using /bin/sh):")
	}
}

// The same input gives the same bytes, whenever and wherever it is packed.
func TestPackagesAreReproducible(t *testing.T) {
	first := makePackages(t, "amd64")
	unit := filepath.Join(root(t), "deploy", "systemd", "tallyman.service")
	before, err := os.Stat(unit)
	require.NoError(t, err)
	now := time.Now()
	require.NoError(t, os.Chtimes(unit, now, now))
	t.Cleanup(func() { require.NoError(t, os.Chtimes(unit, before.ModTime(), before.ModTime())) })
	second := makePackages(t, "amd64")
	for _, pair := range [][2]string{{first.deb, second.deb}, {first.rpm, second.rpm}} {
		one, err := os.ReadFile(pair[0])
		require.NoError(t, err)
		two, err := os.ReadFile(pair[1])
		require.NoError(t, err)
		require.True(t, string(one) == string(two), "%s differs from time to time", filepath.Base(pair[0]))
	}
}
