package e2e_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// statsdMistake is one wrong setting of the receiver, which must have changed
// nothing.
type statsdMistake struct {
	mistake
	unchanged func(t *testing.T)
}

// With an endpoint that cannot be had the agent does not start. It says in one
// line which setting that is, which path, and why; and it touches nothing.
func TestStatsdBadPlace(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	for _, m := range []statsdMistake{
		tooLong(t), noDirectory(t), fileInThePath(t), notWritable(t), regularFile(t, "endpoint"), regularFile(t, "stream_endpoint"),
		directoryAtThePath(t), livingSocket(t), livingStream(t), busyUDP(t),
	} {
		t.Run(m.name, func(t *testing.T) {
			words := m.refused(t)
			require.Contains(t, words, `"uds_statsd"`)
			if m.unchanged != nil {
				m.unchanged(t)
			}
		})
	}
}

// refused returns the one line in which the agent says why it does not start.
func (m *mistake) refused(t *testing.T) string {
	t.Helper()
	s := m.settings
	s.set = m.set
	a := launch(t, s)
	log, code := a.wait(refuseWithin)
	require.Positive(t, code, "ended without an error (-1: by a signal)")
	require.NotContains(t, log, "goroutine ")
	require.NotContains(t, log, "panic")
	require.NoFileExists(t, a.statsdSocket(), "the other socket is left")
	lines := strings.Split(strings.TrimSpace(log), "\n")
	last := lines[len(lines)-1]
	t.Log(last)
	for _, name := range m.names {
		require.Contains(t, last, name)
	}
	return last
}

// statsdPlace is a mistake of one path.
func statsdPlace(name, field, path string, because ...string) statsdMistake {
	set := []string{"receivers::uds_statsd::" + field + ": " + path}
	return statsdMistake{mistake: mistake{name: name, set: set, names: append(because, field+": ", path)}}
}

func tooLong(t *testing.T) statsdMistake {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	require.NoError(t, os.Mkdir(dir, 0o755))
	m := statsdPlace("path too long", "endpoint", dir+"/dsd.socket", "too long", "107")
	m.unchanged = func(t *testing.T) { require.Empty(t, entriesOf(t, dir)) }
	return m
}

func noDirectory(t *testing.T) statsdMistake {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "missing")
	m := statsdPlace("no directory", "endpoint", dir+"/dsd.socket", "directory does not exist")
	m.set = append(m.set, "receivers::uds_statsd::create_directory: false")
	m.unchanged = func(t *testing.T) { require.NoDirExists(t, dir) }
	return m
}

func fileInThePath(t *testing.T) statsdMistake {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("kept"), 0o600))
	m := statsdPlace("file in the path", "endpoint", file+"/dsd.socket", "directory does not exist")
	m.unchanged = keepsText(file)
	return m
}

func notWritable(t *testing.T) statsdMistake {
	t.Helper()
	dir, err := os.MkdirTemp("", "tallyman-e2e-") // reachable for everybody
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	m := statsdPlace("directory not writable", "endpoint", dir+"/dsd.socket", "permission denied", "write")
	m.names = []string{"endpoint: ", dir, "permission denied", "write"}
	m.user = &syscall.Credential{Uid: nobody, Gid: nobody}
	m.unchanged = func(t *testing.T) { require.Empty(t, entriesOf(t, dir)) }
	return m
}

func regularFile(t *testing.T, field string) statsdMistake {
	t.Helper()
	file := filepath.Join(t.TempDir(), "dsd.socket")
	require.NoError(t, os.WriteFile(file, []byte("kept"), 0o600))
	m := statsdPlace("regular file as "+field, field, file, "not a socket")
	m.unchanged = keepsText(file)
	return m
}

func keepsText(file string) func(t *testing.T) {
	return func(t *testing.T) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, "kept", string(text))
	}
}

func directoryAtThePath(t *testing.T) statsdMistake {
	t.Helper()
	dir := t.TempDir()
	m := statsdPlace("directory", "endpoint", dir, "not a socket")
	m.unchanged = func(t *testing.T) { require.DirExists(t, dir) }
	return m
}

// livingSocket is that of this process.
func livingSocket(t *testing.T) statsdMistake {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dsd.socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	m := statsdPlace("living socket", "endpoint", path, "another", "listens")
	m.unchanged = func(t *testing.T) {
		sendStatsd(t, path, "still:1|c")
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(soon)))
		got := make([]byte, 100)
		n, err := conn.Read(got)
		require.NoError(t, err)
		require.Equal(t, "still:1|c", string(got[:n]))
		require.Len(t, entriesOf(t, filepath.Dir(path)), 1)
	}
	return m
}

func livingStream(t *testing.T) statsdMistake {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dsd.socket")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	m := statsdPlace("living stream", "stream_endpoint", path, "another", "listens")
	m.unchanged = func(t *testing.T) {
		conn, err := net.Dial("unix", path)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.Len(t, entriesOf(t, filepath.Dir(path)), 1)
	}
	return m
}

func busyUDP(t *testing.T) statsdMistake {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return statsdPlace("busy UDP port", "udp_endpoint", conn.LocalAddr().String(), "address already in use")
}

func entriesOf(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	return entries
}

// sendStatsd sends one datagram from this process.
func sendStatsd(t *testing.T, path, text string) {
	t.Helper()
	conn, err := net.Dial("unixgram", path)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte(text))
	require.NoError(t, err)
}

// Values that make no sense are refused before anything is started, all of them
// at once, each with its field and value.
func TestStatsdBadValues(t *testing.T) {
	t.Parallel()
	wrong := map[string]string{
		"queue_depth": "0", "buffer_size": "100", "aggregation_interval": "10ms", "temporality": "monthly", "timer_unit": "hours",
		"client_origin": "always", "socket_permissions": `"0999"`, "root_path": "hostfs", "udp_endpoint": `"8125"`,
		"stream_endpoint": "dsd.stream", "endpoint": "dsd.socket", "expiry": "1ms",
		"limits::origin_rate": "-1", "limits::origin_contexts": "-5", "limits::memory_mib": "100000", "limits::connections": "-2",
	}
	var s settings
	for field, value := range wrong {
		s.set = append(s.set, "receivers::uds_statsd::"+field+": "+value)
	}
	log, code := launch(t, s).wait(refuseWithin)
	require.Positive(t, code, "ended without an error (-1: by a signal)")
	require.NotContains(t, log, "goroutine ")
	said := map[string]string{}
	for line := range strings.Lines(strings.TrimPrefix(log, "Error: invalid configuration: receivers::uds_statsd: ")) {
		field, why, _ := strings.Cut(strings.TrimSpace(line), ": ")
		said[strings.ReplaceAll(field, ".", "::")] = why
	}
	for field, value := range wrong {
		require.Contains(t, said[field], strings.Trim(value, `"`), "%s in %s", field, log)
	}
}

func TestStatsdBadKeys(t *testing.T) {
	t.Parallel()
	f := func(name, field, value string, names ...string) mistake {
		return mistake{name: name, set: []string{"receivers::uds_statsd::" + field + ": " + value}, names: names}
	}
	for _, m := range []mistake{
		f("unknown key", "endpiont", "/run/dsd.socket", "endpiont"),
		f("no socket at all", "endpoint", `""`, "endpoint", "stream_endpoint", "udp_endpoint"),
		f("bad mapping", "mappings", "[{match: web.**.time, name: web.time}]", "mappings: ", "web.**.time"),
		f("empty block", "block", `[""]`, "block: "),
	} {
		t.Run(m.name, func(t *testing.T) {
			log, code := launch(t, settings{set: m.set}).wait(refuseWithin)
			require.Positive(t, code, "ended without an error (-1: by a signal)")
			require.NotContains(t, log, "goroutine ")
			for _, name := range append(m.names, "uds_statsd") {
				require.Contains(t, lastWords(log), name)
			}
			t.Log(lastWords(log))
		})
	}
}

// What a dead agent has left is replaced.
func TestStatsdStaleSocket(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	sink := testkit.NewSink(t)
	s := statsdAloneSettings(t, sink)
	s.state = t.TempDir()
	path := filepath.Join(s.state, "dsd", "dsd.socket")
	require.NoError(t, os.Mkdir(filepath.Dir(path), 0o755))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	require.NoError(t, unix.Close(fd)) // the file stays

	a := startAgent(t, s)
	require.Equal(t, path, a.statsdSocket())
	sendStatsd(t, path, "stale.sent:7|c")
	view := newStatsdView(sink)
	testkit.Eventually(t, soon, func() error { return view.equals(t, "", "stale.sent", 7) })

	// Killed, it leaves one again, and the next one takes its place.
	a.kill()
	require.FileExists(t, path)
	startAgent(t, s)
	sendStatsd(t, path, "again.sent:8|c")
	testkit.Eventually(t, soon, func() error { return view.equals(t, "", "again.sent", 8) })
}
