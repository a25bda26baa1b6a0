package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// numbered is how many lines a container writes in these tests.
	numbered = 5000
	// perBurst lines are written ten times a second. As JSON a line takes some
	// 80 bytes, so a file of 40 kB is full after 2.5 s, and three of them last for
	// more than two of the agent's looks (poll_interval: 2s).
	perBurst = 20
	// writeWithin is for numbered lines at that pace (25 s), on a busy machine.
	writeWithin = 3 * time.Minute
	// cutAt is the configuration's max_log_size. The part of 16 KiB that exceeds
	// it still belongs to the record.
	cutAt = 256<<10 + 16<<10
)

var (
	errLines  = errors.New("not every line once")
	errUnread = errors.New("not read by the agent")
)

// Each line of a container arrives once, whatever engine and agent do
// meanwhile: files are renamed and removed, and the agent is restarted.
func TestContainerLogs(t *testing.T) {
	t.Parallel()
	engine := testkit.Docker(t)
	l := newLogAgent(t, "TALLYMAN_DOCKER_ROOT="+dockerRoot(t, engine))
	early := engine.RunContainer(t, writer("10k", 3, "echo before", waitFor("on"), "echo after"))
	testkit.Eventually(t, soon, hasWritten(t, early, "before"))
	l.start()
	testkit.Eventually(t, soon, l.watches(early.ID))

	execute(t, early, "touch", "/tmp/on")
	paused := engine.RunContainer(t, writer("40k", 3,
		count(0, 2000), waitFor("go"), count(2000, 2200), waitFor("on"), count(2200, numbered)))
	// Fifty files last for half a minute: longer than the agent is away.
	steady := engine.RunContainer(t, writer("10k", 50, count(0, numbered)))
	testkit.Eventually(t, writeWithin, l.arrived(paused.ID, 2000))
	l.stop()
	execute(t, paused, "touch", "/tmp/go")
	testkit.Eventually(t, soon, hasWritten(t, paused, "line 2199"))
	l.start()
	testkit.Eventually(t, soon, l.arrived(paused.ID, 2200))
	execute(t, paused, "touch", "/tmp/on")

	for _, c := range []*testkit.Container{paused, steady} {
		testkit.Eventually(t, writeWithin, l.arrived(c.ID, numbered))
	}
	l.stop()
	require.NoError(t, once(l.records(paused.ID)))
	require.NoError(t, once(l.records(steady.ID)))
	require.Equal(t, []string{"after"}, bodies(l.records(early.ID)), "of what was there before the first start")
	first := l.records(paused.ID)[0]
	require.Equal(t, "docker", first.resource["container.runtime.name"])
	require.Equal(t, map[string]any{"log.iostream": "stdout"}, first.attributes)
	require.WithinDuration(t, time.Now(), first.at, 10*time.Minute)
	rotated, err := filepath.Glob(filepath.Join(dockerRoot(t, engine), "containers", paused.ID, "*-json.log.2"))
	require.NoError(t, err)
	require.Len(t, rotated, 1, "the engine has rotated")
}

// With the feature gate that docs/tuning.md names, a line that has been read is on its
// way: an agent that is killed in the moment in which it has noted how far it is loses
// none. Without it, it loses all that it has read last.
func TestKilledWhileReading(t *testing.T) {
	t.Parallel()
	const rounds, lines = 6, 5 // some 2 kB
	engine := testkit.Docker(t)
	l := newLogAgent(t, "TALLYMAN_DOCKER_ROOT="+dockerRoot(t, engine), "TALLYMAN_DOCKER_HOST="+engine.Host())
	l.settings.set = append(l.settings.set, "receivers::file_log/docker::poll_interval: 200ms")
	l.settings.gates = "stanza.synchronousLogEmitter"
	l.start()
	testkit.Eventually(t, soon, l.hasLooked)
	steps := []string{"echo first"}
	for i := range rounds {
		steps = append(steps, waitFor(fmt.Sprint("go", i)))
		for n := range lines {
			steps = append(steps, fmt.Sprint("echo line ", i*lines+n))
		}
	}
	c := engine.RunContainer(t, writer("10m", 1, steps...))
	// What is read of a container without a name waits for it in memory.
	testkit.Eventually(t, soon, l.arrived(c.ID, 1))
	for i := range rounds {
		execute(t, c, "touch", fmt.Sprint("/tmp/go", i))
		testkit.Eventually(t, soon, l.hasNoted(fmt.Sprint("line ", (i+1)*lines-1)))
		l.agent.kill()
		l.start()
	}
	missing := func() error {
		have := bodies(l.records(c.ID))
		for n := range rounds * lines {
			if line := fmt.Sprint("line ", n); !slices.Contains(have, line) {
				return fmt.Errorf("%q in %d records: %w", line, len(have), errUnread)
			}
		}
		return nil
	}
	testkit.Eventually(t, soon, missing)
}

// Docker cuts lines at 16 KiB. The parts are joined again, those of each stream
// on their own, up to a limit.
func TestLongContainerLines(t *testing.T) {
	t.Parallel()
	engine := testkit.Docker(t)
	l := newLogAgent(t, "TALLYMAN_DOCKER_ROOT="+dockerRoot(t, engine))
	l.start()
	testkit.Eventually(t, soon, l.hasLooked)
	const long, huge = 40_000, 1_000_000
	c := engine.RunContainer(t, writer("10m", 3,
		fmt.Sprintf("head -c %d /dev/zero | tr '\\0' o", long),
		fmt.Sprintf("head -c %d /dev/zero | tr '\\0' e >&2", long),
		"echo; echo >&2", "echo '  two  '", "printf 'cr\\r\\n'",
		fmt.Sprintf("head -c %d /dev/zero | tr '\\0' h", huge), "echo; echo last"))
	testkit.Eventually(t, soon, func() error {
		if got := bodies(l.records(c.ID)); !slices.Contains(got, "last") {
			return fmt.Errorf("%d records: %w", len(got), errUnread)
		}
		return nil
	})
	l.stop()
	got := bodies(l.records(c.ID))
	total := 0
	for _, body := range got {
		if strings.Trim(body, "h") == "" {
			require.LessOrEqual(t, len(body), cutAt)
			total += len(body)
		}
	}
	require.Equal(t, huge, total, "in all parts of the line that is too long")
	require.Contains(t, got, "  two  ")
	require.Contains(t, got, "cr")
	for stream, letter := range map[string]string{"stdout": "o", "stderr": "e"} {
		want := strings.Repeat(letter, long)
		at := slices.IndexFunc(l.records(c.ID), func(e logRecord) bool { return e.body == want })
		require.GreaterOrEqual(t, at, 0, "the whole line on %s", stream)
		require.Equal(t, stream, l.records(c.ID)[at].attributes["log.iostream"])
	}
}

// Two containers that begin with the same long line are not taken for one. A
// file is known by its first bytes (fingerprint_size), and Docker puts the time
// at the end of the line.
func TestSameFirstLine(t *testing.T) {
	t.Parallel()
	engine := testkit.Docker(t)
	l := newLogAgent(t, "TALLYMAN_DOCKER_ROOT="+dockerRoot(t, engine))
	l.start()
	testkit.Eventually(t, soon, l.hasLooked)
	banner := strings.Repeat("banner ", 500)
	for range 2 {
		c := engine.RunContainer(t, writer("10m", 1, "echo '"+banner+"'", "echo own line"))
		testkit.Eventually(t, soon, l.arrived(c.ID, 2))
		require.Equal(t, []string{banner, "own line"}, bodies(l.records(c.ID)))
	}
}

// The files of a pod, rotated and compressed the way the kubelet does it.
func TestPodLogs(t *testing.T) {
	t.Parallel()
	pods := t.TempDir()
	l := newLogAgent(t, "TALLYMAN_PODS_ROOT="+pods)
	p := newPodLog(t, filepath.Join(pods, "shop_cart-5d9c_1f0a66e2-7f0e-4b4c-9d3e-2f6f1a1b7c11", "app"))
	p.write("F before the first start")
	l.start()
	testkit.Eventually(t, soon, l.watches(p.file))

	written := 0
	writeTo := func(n int) {
		for ; written < n; written++ {
			p.write(fmt.Sprintf("F line %d", written))
		}
	}
	for written < 2000 {
		writeTo(written + 250)
		p.rotate()
		writeTo(written + 250)
		// The kubelet looks every 10 s and compresses only what it rotated before
		// the last time: that has been read long since.
		testkit.Eventually(t, soon, l.arrived(p.uid, written))
		p.compress()
	}
	l.stop()
	writeTo(3000)
	p.rotate()
	writeTo(4000)
	l.start()
	writeTo(numbered)
	testkit.Eventually(t, soon, l.arrived(p.uid, numbered))

	// Parts of two streams, cut within a character, and spaces at the ends.
	const e = "é"
	p.write("P out " + e[:1])
	p.writeOn("stderr", "P err ")
	p.write("F" + " " + e[1:] + " end  ")
	p.writeOn("stderr", "F end")
	testkit.Eventually(t, soon, l.arrived(p.uid, numbered+2))
	l.stop()
	got := l.records(p.uid)
	joined := got[len(got)-2:]
	slices.SortFunc(joined, func(a, b logRecord) int { return strings.Compare(a.body, b.body) })
	require.Equal(t, []string{"err end", "out é end  "}, bodies(joined))
	require.Equal(t, "stderr", joined[0].attributes["log.iostream"])
	require.NoError(t, once(got[:numbered]))
	for key, want := range map[string]any{
		"k8s.namespace.name": "shop", "k8s.pod.name": "cart-5d9c", "k8s.pod.uid": p.uid,
		"k8s.container.name": "app", "k8s.container.restart_count": int64(0),
	} {
		require.Equal(t, want, got[0].resource[key], key)
	}
	require.Equal(t, map[string]any{"log.iostream": "stdout"}, got[0].attributes)
}

// Reading logs has nothing to complain about where there are none, or where
// the agent's user may not see them.
func TestQuietLogs(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t) // to become somebody else
	there, err := os.MkdirTemp("", "tallyman-logs-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(there)) })
	require.NoError(t, os.Chmod(there, 0o711)) // as /var/lib/docker
	id := strings.Repeat("ab", 32)
	file := filepath.Join(there, "containers", id, id+"-json.log")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o710)) // as the engine does it
	require.NoError(t, os.WriteFile(file, []byte(`{"log":"x\n","stream":"stdout","time":"2026-11-21T20:00:00Z"}`+"\n"), 0o640))
	plain := &syscall.Credential{Uid: nobody, Gid: nobody}
	for name, c := range map[string]struct {
		root string
		user *syscall.Credential
	}{
		"root":                  {root: there},
		"root, no docker":       {root: filepath.Join(there, "absent")},
		"plain user":            {root: there, user: plain},
		"plain user, no docker": {root: filepath.Join(there, "absent"), user: plain},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLogAgent(t, "TALLYMAN_DOCKER_ROOT="+c.root)
			l.settings.user = c.user
			l.settings.state = l.settings.dir(t)
			l.start()
			if c.root == there && c.user == nil {
				testkit.Eventually(t, soon, l.watches(id))
			}
			// Whoever cannot see any file has looked for some when this is written.
			testkit.Eventually(t, soon, l.hasLooked)
			log := l.stop()
			require.Empty(t, complaints(log))
		})
	}
}
