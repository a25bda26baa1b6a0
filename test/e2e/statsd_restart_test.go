package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// serviceManager keeps descriptors as systemd does for a unit with
// FileDescriptorStoreMax (sd_pid_notify_with_fds(3), sd_listen_fds(3)).
type serviceManager struct {
	conn *net.UnixConn
	path string
	done chan struct{}

	mu   sync.Mutex // guards what follows
	kept map[string]*os.File
	errs []error
}

func newServiceManager(t *testing.T) *serviceManager {
	t.Helper()
	m := &serviceManager{
		path: filepath.Join(t.TempDir(), "notify"), done: make(chan struct{}), kept: map[string]*os.File{},
	}
	var err error
	m.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	require.NoError(t, err)
	go m.serve()
	t.Cleanup(func() {
		require.NoError(t, m.conn.Close())
		<-m.done
		for _, file := range m.kept {
			require.NoError(t, file.Close())
		}
		require.NoError(t, errors.Join(m.errs...))
	})
	return m
}

func (m *serviceManager) serve() {
	defer close(m.done)
	text, control := make([]byte, 4096), make([]byte, 1024)
	for {
		n, controlled, _, _, err := m.conn.ReadMsgUnix(text, control)
		if err != nil {
			return // closed
		}
		m.notified(string(text[:n]), control[:controlled])
	}
}

func (m *serviceManager) notified(text string, control []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	said := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		said[key] = value
	}
	messages, err := unix.ParseSocketControlMessage(control)
	m.errs = append(m.errs, err)
	var fds []int
	for i := range messages {
		found, err := unix.ParseUnixRights(&messages[i])
		m.errs = append(m.errs, err)
		fds = append(fds, found...)
	}
	name := said["FDNAME"]
	if said["FDSTOREREMOVE"] == "1" && m.kept[name] != nil {
		m.errs = append(m.errs, m.kept[name].Close())
		delete(m.kept, name)
	}
	for _, fd := range fds {
		file := os.NewFile(uintptr(fd), name)
		if said["FDSTORE"] != "1" || m.kept[name] != nil {
			m.errs = append(m.errs, file.Close()) // the same one again
			continue
		}
		m.kept[name] = file
	}
}

// keeps returns nil once it has a descriptor.
func (m *serviceManager) keeps() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.kept) == 0 {
		return fmt.Errorf("kept descriptor: %w", errMissing)
	}
	return nil
}

// handOver starts an agent the way systemd does, with all that is kept.
func (m *serviceManager) handOver(s settings) settings {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name, file := range m.kept {
		names = append(names, name)
		s.files = append(s.files, file)
	}
	s.env = append(s.env, fmt.Sprintf("LISTEN_FDS=%d", len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	// Only the process itself knows its number in advance.
	s.wrap = []string{"sh", "-c", `export LISTEN_PID=$$; exec "$@"`, "sh"}
	return s
}

const (
	restartSenders, restartRate = 8, 2000
	// awayFor is how long nobody is there, and starting comes on top of it.
	awayFor = 500 * time.Millisecond
)

// The agent is stopped under load and started again half a second later. The
// service manager has kept the socket, so no sender notices and nothing is lost.
func TestStatsdRestart(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "sh")
	engine := testkit.Docker(t)
	program := buildStatsdClient(t)
	manager := newServiceManager(t)
	sink := testkit.NewSink(t)
	s := statsdSettings(sink, engine.Host())
	s.state = t.TempDir()
	s.env = append(s.env, "NOTIFY_SOCKET="+manager.path)
	first := startAgent(t, s)
	testkit.Eventually(t, soon, manager.keeps)
	senders := engine.RunContainer(t, program.container("statsd-restart", first, "steady", "-patient",
		"-metric", "restart.sent", "-senders", fmt.Sprint(restartSenders), "-rate", fmt.Sprint(restartRate)))
	t.Cleanup(func() {
		if t.Failed() {
			said, err := senders.Logs(context.Background())
			t.Logf("senders: %s (%v)", said, err)
		}
	})
	view := newStatsdView(sink)
	view.grows(t, senders.ID, restartRate)

	away := time.Now()
	_, code := first.stop()
	require.Zero(t, code)
	select {
	case <-time.After(awayFor):
	case <-t.Context().Done():
	}
	second := startAgent(t, manager.handOver(s))
	t.Logf("away for %v", time.Since(away))
	require.Contains(t, second.log(), `"restored": true`)
	view.grows(t, senders.ID, 2*restartRate)
	said := ended(t, senders, "SIGTERM")
	t.Logf("senders: %s", said)
	var sent, refused int
	_, err := fmt.Sscanf(said, "sent %d refused %d", &sent, &refused)
	require.NoError(t, err)
	require.Zero(t, refused)
	testkit.Eventually(t, soon, func() error { return view.equals(t, "", "restart.sent", float64(sent)) })
	log, code := second.stop()
	require.Zero(t, code)
	require.Empty(t, complaints(log))
	require.NoError(t, view.equals(t, "", "restart.sent", float64(sent)))
	view.isOfBothLives(t, senders.ID)
}

// grows waits until as much more has come of a container.
func (v *statsdView) grows(t *testing.T, container string, by float64) {
	t.Helper()
	v.take()
	from := v.total(statsdOf(container, "restart.sent"))
	testkit.Eventually(t, soon, func() error {
		v.take()
		if now := v.total(statsdOf(container, "restart.sent")); now < from+by {
			return fmt.Errorf("%v, was %v: %w", now, from, errIdle)
		}
		return nil
	})
}

// isOfBothLives makes sure that all of it is the container's, also what waited
// while nobody was there.
func (v *statsdView) isOfBothLives(t *testing.T, container string) {
	t.Helper()
	for key, starts := range v.series {
		if key.metric != "restart.sent" {
			continue
		}
		require.Equal(t, container, key.container, "%v", key)
		require.Len(t, starts, 2, "both lives have told of %v", key)
	}
}
