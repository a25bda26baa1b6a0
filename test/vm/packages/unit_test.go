package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/test/vm/machine"
)

// exposure is what systemd 252 makes of the unit, in tenths, from 0 (locked away) to 100: the least with which each
// setting that is left open is open for a reason that stands in the unit.
const exposure = "38"

func readRepository(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(name)))
	require.NoError(t, err)
	return string(text)
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := machine.RepositoryRoot(t.Context())
	require.NoError(t, err)
	return dir
}

// unitFile writes the unit where systemd-analyze takes it for one. The agent's program is a stand-in: verify asks
// whether it can be run.
func unitFile(t *testing.T, change func(string) string) string {
	t.Helper()
	text := change(readRepository(t, "deploy/systemd/tallyman.service"))
	self, err := os.Executable()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "tallyman.service")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(text, "/usr/bin/tallyman ", self+" ")), 0o644))
	return file
}

func unchanged(text string) string { return text }

// analyze returns what systemd-analyze says, and whether that is approval.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	testkit.NeedCommand(t, "systemd-analyze")
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", args...).CombinedOutput()
	return string(out), err
}

// systemd knows every setting, and each has a value that it understands.
func TestUnitIsUnderstood(t *testing.T) {
	f := func(change func(string) string) string {
		t.Helper()
		out, err := analyze(t, "verify", "--man=no", unitFile(t, change))
		if err != nil {
			out += err.Error()
		}
		return out
	}
	require.Empty(t, f(unchanged))
	for _, mistake := range []string{"ProtectSytem=strict", "MemoryMax=plenty", "SystemCallFilter=@no-such-set"} {
		require.NotEmpty(t, f(func(text string) string {
			return strings.Replace(text, "[Install]", mistake+"\n[Install]", 1)
		}), mistake)
	}
}

func TestUnitIsLockedDown(t *testing.T) {
	f := func(change func(string) string) error {
		t.Helper()
		out, err := analyze(t, "security", "--no-pager", "--offline=true", "--threshold="+exposure, unitFile(t, change))
		require.Contains(t, out, "Overall exposure level")
		return err
	}
	require.NoError(t, f(unchanged))
	for _, setting := range []string{"ProtectSystem=strict", "NoNewPrivileges=yes", "RestrictNamespaces=net", "ProtectClock=yes"} {
		require.Error(t, f(func(text string) string { return strings.Replace(text, setting+"\n", "", 1) }), setting)
	}
}

// Each capability is explained, and no other.
func TestCapabilitiesAreExplained(t *testing.T) {
	text := readRepository(t, "deploy/systemd/tallyman.service")
	var explained []string
	for _, line := range regexp.MustCompile(`(?m)^#   (CAP_\S+) +\S`).FindAllStringSubmatch(text, -1) {
		explained = append(explained, line[1])
	}
	require.NotEmpty(t, explained)
	require.Contains(t, text, "\nCapabilityBoundingSet="+strings.Join(explained, " ")+"\n")
}

// The variables that the file for the administrator offers are read by somebody.
func TestEnvironmentIsRead(t *testing.T) {
	readers := readRepository(t, "deploy/systemd/tallyman.service") + readRepository(t, "otelcol-config.yaml") +
		readRepository(t, "deploy/otlp.yaml")
	offered := regexp.MustCompile(`(?m)^#([A-Z_]+)=`).FindAllStringSubmatch(readRepository(t, "deploy/packages/environment"), -1)
	require.NotEmpty(t, offered)
	for _, variable := range offered {
		require.Regexp(t, `\$(\{env:)?`+variable[1]+`\b`, readers)
	}
}

// Directories of the unit are those of the default configuration, which the unit does not name again.
func TestDirectoriesAgree(t *testing.T) {
	unit, config := readRepository(t, "deploy/systemd/tallyman.service"), readRepository(t, "otelcol-config.yaml")
	for _, directory := range []struct{ setting, variable, parent string }{
		{"StateDirectory", "TALLYMAN_STATE", "/var/lib/"}, {"RuntimeDirectory", "TALLYMAN_STATSD_DIR", "/run/"},
	} {
		name := regexp.MustCompile(`(?m)^` + directory.setting + `=(\S+)$`).FindStringSubmatch(unit)
		require.Len(t, name, 2, directory.setting)
		require.Contains(t, config, "${env:"+directory.variable+":-"+directory.parent+name[1]+"}")
	}
	require.Contains(t, readRepository(t, "deploy/systemd/tmpfiles.conf"), "d /run/tallyman ")
}
