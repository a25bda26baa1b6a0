//go:build vmdocker

package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// The packages of two versions, as the second disk has them (test/vm/docker/payload.go).
const (
	firstDeb, secondDeb = "/srv/first.deb", "/srv/second.deb"
	firstRPM, secondRPM = "/srv/first.rpm", "/srv/second.rpm"
)

const (
	stateDir  = "/var/lib/tallyman"
	configDir = "/etc/tallyman"
	socketDir = "/run/tallyman"
	config    = configDir + "/config.yaml"
	// edit is what an administrator has added.
	edit = "\n# edited by the administrator\n"
)

// do runs a program that must succeed and returns what it printed.
func do(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s %q: %s", name, args, out)
	return string(out)
}

// changed marks a machine whose agent is not the one that run.sh has installed any more.
const changed = "/run/tallyman-test-changed"

// change is for tests that leave the machine with another package, or none.
func change(t *testing.T) {
	t.Helper()
	require.NoError(t, os.WriteFile(changed, nil, 0o600))
}

// fresh makes the machine again as run.sh has left it, where a test has changed it: an installation takes most of a
// minute here. What the journal has of that test is not the next one's. Tests that run beside each other wait here.
func fresh(t *testing.T) {
	t.Helper()
	lock, err := os.OpenFile("/run/tallyman-test-lock", os.O_CREATE|os.O_RDWR, 0o600)
	require.NoError(t, err)
	defer lock.Close()
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	if _, err := os.Stat(changed); errors.Is(err, os.ErrNotExist) {
		return
	}
	do(t, "sh", "-c", "! rpm -q tallyman || rpm --force-debian -e tallyman")
	do(t, "dpkg", "--purge", "tallyman")
	do(t, "rm", "-rf", stateDir, configDir)
	forgetJournal(t)
	do(t, "dpkg", "-i", firstDeb)
	require.NoError(t, os.Remove(changed))
}

func forgetJournal(t *testing.T) {
	t.Helper()
	do(t, "journalctl", "--rotate", "--vacuum-size=1")
}

// packageVersion is what dpkg has installed.
func packageVersion(t *testing.T) string {
	t.Helper()
	return do(t, "dpkg-query", "--showformat=${Version}", "--show", "tallyman")
}

func requireEdited(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(config)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(text), edit), "the administrator's change is lost")
}

func appendTo(t *testing.T, name, text string) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.WriteString(text)
	require.NoError(t, errors.Join(err, file.Close()))
}

// links are the unit's in /etc/systemd/system: what enabling it has made.
func links(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("/etc/systemd/system/*/" + unit)
	require.NoError(t, err)
	return found
}

// upgrade runs the given step under load and returns how many datagrams had been sent by the end of it. The senders
// have not met an error, the agent is another process than before, and everything that was sent is in the recorder.
func upgrade(t *testing.T, step func()) (sent int) {
	t.Helper()
	eventually(t, soon, healthy)
	pid := mainPID(t)
	s := startSender(t)
	// A minute's worth before the step makes the counter of the next agent, which begins at 0, lower than that.
	eventually(t, soon, func() error { return s.recorded(first) })
	step()
	eventually(t, soon, healthy)
	require.NotEqual(t, pid, mainPID(t), "the agent has not been restarted")
	sent = s.stop(t)
	eventually(t, soon, func() error { return s.recorded(sent) })
	t.Logf("%d datagrams before, during and after the upgrade; none refused, none lost", sent)
	requireQuiet(t)
	return sent
}

// A mistake in a file does not end the agent: the reload is refused. So it is where the mistake is in the file of the
// environment, which systemd reads anew for the check, though the agent keeps the environment it has.
func TestReload(t *testing.T) {
	runAgent(t)
	defer forgetJournal(t)
	pid := mainPID(t)
	systemctl(t, "reload", unit)
	eventually(t, soon, func() error {
		journal := do(t, "journalctl", "--no-pager", "--output=cat", "--unit="+unit)
		// The Collector's own words, at level warning.
		_, since, reloaded := strings.Cut(journal, "Config updated, restart service")
		if !reloaded || !strings.Contains(since, "Everything is ready") {
			return fmt.Errorf("reload: %w", errWait)
		}
		return healthy()
	})
	require.Equal(t, pid, mainPID(t))

	for file, mistake := range map[string]string{
		config:                     "\nreceivers: {no_such_receiver: {}}\n",
		configDir + "/environment": "\nTALLYMAN_OPTIONS=--config /nonexistent.yaml\n",
	} {
		good, err := os.ReadFile(file)
		require.NoError(t, err)
		appendTo(t, file, mistake)
		out, err := exec.CommandContext(t.Context(), "systemctl", "reload", unit).CombinedOutput()
		require.NoError(t, os.WriteFile(file, good, 0o600))
		require.Error(t, err, "%s: %s", file, out)
		require.NoError(t, healthy())
		require.Equal(t, pid, mainPID(t))
		require.Equal(t, "active", properties(t, unit)["ActiveState"])
	}
}

// requireStopped is for after a removal: nothing runs, and nothing that was recorded is lost.
func requireStopped(t *testing.T) {
	t.Helper()
	require.Error(t, healthy(), "somebody still answers")
	require.Equal(t, "inactive", properties(t, unit)["ActiveState"])
	require.NoFileExists(t, "/usr/bin/tallyman")
	require.DirExists(t, filepath.Join(stateDir, "recorder"))
}

// requireGone is for after a purge.
func requireGone(t *testing.T) {
	t.Helper()
	require.Error(t, healthy(), "somebody still answers")
	require.Equal(t, "not-found", properties(t, unit)["LoadState"])
	require.Empty(t, links(t))
	for _, path := range []string{stateDir, configDir, socketDir, "/usr/bin/tallyman", "/usr/share/doc/tallyman"} {
		_, err := os.Lstat(path)
		require.ErrorIs(t, err, os.ErrNotExist, path)
	}
}

// settled is how long a doctor in the unit's clothes may take in this machine.
const settled = 2 * time.Minute

// doctored returns what doctor finds out when it runs as the unit does, without some of its capabilities: the status of
// each check by name.
func doctored(t *testing.T, without string) map[string]string {
	t.Helper()
	text, err := sandboxed(t, without, "/usr/bin/tallymanctl doctor --json")
	statuses, parseErr := parseDoctor(text)
	require.NoError(t, parseErr, "%v: %s", err, text)
	return statuses
}

// sandboxed runs a command as the installed unit runs the agent, and returns what it printed.
func sandboxed(t *testing.T, without, command string) ([]byte, error) {
	t.Helper()
	const name, output = "tallyman-sandbox.service", "/run/tallyman-sandbox.out"
	installed, err := os.ReadFile("/usr/lib/systemd/system/" + unit)
	require.NoError(t, err)
	text := dressed(string(installed), command, output)
	if without != "" {
		text += "CapabilityBoundingSet=~" + without + "\n"
	}
	file := filepath.Join("/run/systemd/system", name)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	defer os.Remove(file)
	_ = os.Remove(output)
	do(t, "systemctl", "daemon-reload")
	out, err := exec.CommandContext(t.Context(), "timeout", fmt.Sprint(settled.Seconds()), "systemctl", "start", name).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("run %s: %w: %s", command, err, out)
		_ = exec.CommandContext(t.Context(), "systemctl", "reset-failed", name).Run()
	}
	printed, readErr := os.ReadFile(output)
	return printed, errors.Join(err, readErr)
}

// What the unit takes away from root takes nothing away from the agent, as far as doctor knows; and capabilities that it
// leaves are there for something. CAP_BPF and CAP_PERFMON are in CAP_SYS_ADMIN; CAP_NET_ADMIN is missed by what doctor does
// not look at, the depth of a kept socket (SIOCGSKNS), and ctnetlink where BPF is refused.
func TestUnitTakesNothingAway(t *testing.T) {
	runAgent(t)
	out, err := exec.CommandContext(t.Context(), "tallymanctl", "doctor", "--json").Output()
	require.NoError(t, err, "%s", out)
	plain, err := parseDoctor(out)
	require.NoError(t, err)
	full := doctored(t, "")
	require.Equal(t, plain, full, "root and the unit differ")
	for check, status := range full {
		require.NotEqual(t, "fail", status, check)
	}
	for _, capability := range []string{"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"} {
		require.NotEqual(t, full, doctored(t, capability), "nothing is lost without %s", capability)
	}
	// The kernel's reports, for captures. This kernel takes CAP_SYS_ADMIN for it, too; newer ones do not.
	const look = "/bin/busybox dd if=/dev/kmsg of=/dev/null bs=8192 count=1"
	_, err = sandboxed(t, "CAP_SYS_ADMIN", look)
	require.NoError(t, err)
	_, err = sandboxed(t, "CAP_SYS_ADMIN CAP_SYSLOG", look)
	require.Error(t, err)
}

// The life of a .deb: it runs when it is installed, an upgrade loses nothing, `remove` keeps what was recorded and
// `purge` does not. Who has disabled or stopped the agent does not get it back with another version.
func TestDebianPackage(t *testing.T) {
	fresh(t) // run.sh has installed it
	change(t)
	requireState(t, properties(t, unit), "active", "running")
	require.Equal(t, "enabled", properties(t, unit)["UnitFileState"])
	eventually(t, soon, healthy)
	waitPage(t, start(t, testkit.ContainerSpec{Name: "packaged", NetworkMode: "none"}).ID)
	appendTo(t, config, edit)
	before := packageVersion(t)
	sent := upgrade(t, func() { do(t, "dpkg", "-i", secondDeb) })
	require.NotEqual(t, before, packageVersion(t))
	requireEdited(t)

	do(t, "dpkg", "--remove", "tallyman")
	requireStopped(t)
	requireEdited(t)
	do(t, "dpkg", "-i", secondDeb)
	eventually(t, soon, healthy)
	requireEdited(t)
	eventually(t, soon, func() error { return recordedSent(sent) })

	systemctl(t, "disable", "--now", unit)
	do(t, "dpkg", "-i", firstDeb)
	require.Equal(t, before, packageVersion(t))
	after := properties(t, unit)
	require.Equal(t, "inactive", after["ActiveState"])
	require.Equal(t, "disabled", after["UnitFileState"])

	do(t, "dpkg", "--purge", "tallyman")
	requireGone(t)
}

// The life of an .rpm, with this machine's systemd. Fedora's presets are another matter: Debian's enable everything.
func TestRPM(t *testing.T) {
	change(t)
	do(t, "dpkg", "--purge", "tallyman")
	requireGone(t)
	forgetJournal(t) // what it has is of the .deb's agent
	rpm := func(args ...string) {
		t.Helper()
		do(t, "rpm", append([]string{"--force-debian", "--nodeps"}, args...)...)
	}

	rpm("-i", firstRPM)
	installed := properties(t, unit)
	require.Equal(t, "inactive", installed["ActiveState"], "an rpm starts nothing")
	require.Equal(t, "enabled", installed["UnitFileState"])
	systemctl(t, "start", unit)
	eventually(t, soon, healthy)
	appendTo(t, config, edit)
	sent := upgrade(t, func() { rpm("-U", secondRPM) })
	requireEdited(t)

	rpm("-e", "tallyman")
	requireStopped(t)
	require.Empty(t, links(t))
	require.FileExists(t, config+".rpmsave")
	rpm("-i", secondRPM)
	systemctl(t, "start", unit)
	eventually(t, soon, func() error { return recordedSent(sent) })
}
