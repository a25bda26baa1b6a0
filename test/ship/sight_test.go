package ship_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// sentRate is how many datagrams a sender sends in a second.
	sentRate = 20
	// further is how many more of them arrive before what is not there is taken for lost:
	// 15 seconds' worth, as open connections are looked at every ten.
	further = 15 * sentRate
	// lookEvery is for what costs too much to be asked a hundred times a second.
	lookEvery = 2 * time.Second
	// deep is a queue that is deeper than any host makes it by itself.
	deep = 1000
)

// sight is what is to be seen of an agent at one moment.
type sight struct {
	agent          *agent
	page, token    string
	output, events string // files
}

// look reads everything that users have of an agent.
func (a *agent) look(t *testing.T) (sight, error) {
	t.Helper()
	if err := a.alive(t); err != nil {
		t.Fatal(err)
	}
	s := sight{agent: a}
	var errs [5]error
	s.page, errs[0] = get("http://"+a.address+":9464/metrics", "")
	s.output, errs[1] = readIfThere(filepath.Join(a.state, "container-logs.jsonl"))
	s.token, errs[2] = readIfThere(filepath.Join(a.state, "recorder-token"))
	s.token = strings.TrimSpace(s.token)
	s.events, errs[3] = readIfThere(filepath.Join(a.state, "events.jsonl"))
	errs[4] = a.lookAtPictures()
	return s, errors.Join(errs[:]...)
}

// readIfThere returns "" for a file that has not been made yet.
func readIfThere(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return string(text), err
}

// shows waits until all the wanted features have yielded data at one look, and goes on
// looking until further custom metrics have arrived since. It returns the names of all
// features that have yielded data at any time.
func (a *agent) shows(t *testing.T, wanted []string) []string {
	t.Helper()
	seen := map[string]bool{}
	var last time.Time
	var err error
	enough := 0.0
	testkit.Eventually(t, soon, func() error {
		if time.Since(last) < lookEvery && err != nil {
			return err
		}
		last = time.Now()
		var s sight
		if s, err = a.look(t); err != nil {
			return err
		}
		now := s.features()
		for _, name := range now {
			seen[name] = true
		}
		if enough == 0 {
			if err = lacks(now, wanted); err == nil {
				enough, err = s.sent()+further, errMissing
			}
			return err
		}
		if s.sent() < enough {
			err = fmt.Errorf("%.0f of %.0f custom metrics: %w", s.sent(), enough, errMissing)
		} else {
			err = nil
		}
		return err
	})
	return slices.Collect(maps.Keys(seen))
}

// features are those that yield data now.
func (s sight) features() []string {
	var there []string
	for name, probe := range probes() {
		if probe(s) {
			there = append(there, name)
		}
	}
	return there
}

// lacks tells what of the wanted is not there.
func lacks(there, wanted []string) (err error) {
	for _, name := range wanted {
		if !slices.Contains(there, name) {
			err = errors.Join(err, fmt.Errorf("%s: %w", name, errMissing))
		}
	}
	return err
}

// sent is how many custom metrics have arrived from this agent's sender, whoever it is
// taken for.
func (s sight) sent() float64 { return pageValue(s.page, "ship_sent") }

// asks tells whether the recorder has an event of the kind that is the container's and has
// the words.
func (s sight) asks(kind, container, words string) bool {
	text, err := get("http://"+s.agent.address+":9480/api/events?limit=50&kind="+kind+"&container="+container, s.token)
	var answer struct{ Events []json.RawMessage }
	if err != nil || json.Unmarshal([]byte(text), &answer) != nil {
		return false
	}
	return slices.ContainsFunc(answer.Events, func(event json.RawMessage) bool { return strings.Contains(string(event), words) })
}

// fill sends to the agent while it is held still, until one more datagram would have to
// wait, and returns how many fitted in.
func (a *agent) fill(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	// By default a sender's own memory is for some 280 datagrams.
	require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 16*mib))
	// The path of a volume may be longer than that of a socket.
	dir, err := os.Open(a.world.mountpoint(t, a.statsd))
	require.NoError(t, err)
	defer dir.Close()
	require.NoError(t, unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/dsd.socket", dir.Fd())}))
	docker := a.world.engine.Client()
	_, err = docker.ContainerPause(t.Context(), a.ID, client.ContainerPauseOptions{})
	require.NoError(t, err)
	fitted := 0
	for fitted < 10*deep {
		if err = unix.Send(fd, []byte("ship_depth:1|c"), 0); err != nil {
			break
		}
		fitted++
	}
	_, errGoOn := docker.ContainerUnpause(t.Context(), a.ID, client.ContainerUnpauseOptions{})
	require.NoError(t, errGoOn)
	require.ErrorIs(t, err, unix.EAGAIN)
	return fitted
}
