package watch

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/discovery/technology"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A container that does nothing is looked at once in six times, and at the next look
// after it has done something.
func TestQuietContainer(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedCommand(t, "unshare", "env")
	r := newRig(t, Options{View: view(t), Every: time.Second})
	id, _, process := start(t, 1, "unshare", "-n", "env", listenEnv+"=tcp4:0.0.0.0:6379 later-tcp4:0.0.0.0:6380", program(t, "redis-server"))
	r.expect(t, id, listens("tcp 0.0.0.0:6379 redis-server"))
	before := r.Stats()
	testkit.Eventually(t, time.Minute, func() error {
		// Others may run on this host: of them looks are made, too.
		if now := r.Stats(); now.Skipped < before.Skipped+2*maxSkipped || now.Looks == before.Looks {
			return fmt.Errorf("%d looks were made and %d left out", now.Looks-before.Looks, now.Skipped-before.Skipped)
		}
		return nil
	})
	if err := process.Process.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	r.expect(t, id, listens("tcp 0.0.0.0:6379 redis-server", "tcp 0.0.0.0:6380 redis-server"))
}

// A container that sleeps is looked at as soon as another comes into its network:
// from then on only its own sockets are its.
func TestQuietContainerGetsCompany(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedCommand(t, "unshare", "env", "nsenter")
	r := newRig(t, Options{View: view(t), Every: time.Second})
	id, _, process := start(t, 1, "unshare", "-n", "env", listenEnv+"=tcp4:0.0.0.0:6379", program(t, "redis-server"))
	got := r.expect(t, id, listens("tcp 0.0.0.0:6379 redis-server"))
	if got.SharedNetwork {
		t.Error("nobody else is in its network")
	}
	before := r.Stats().Skipped
	testkit.Eventually(t, time.Minute, func() error { return atLeast(r.Stats().Skipped, before+1) })
	start(t, 2, "nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", process.Process.Pid), "sleep", "600")
	r.expect(t, id, func(got *target.Target) error {
		if !got.SharedNetwork {
			return errors.New("it has company")
		}
		return nil
	})
}

func TestIsQuiet(t *testing.T) {
	testkit.NeedCgroup(t)
	v := view(t)
	w := &Watch{meter: v.NewMeter()}
	const path = "/tallyman-test-quiet"
	testkit.Cgroup(t, path)
	s := &subject{group: &group{paths: []string{path, path + "/below"}}, looks: len(early) + 1, target: &target.Target{}}
	if w.isQuiet(s) {
		t.Error("it is not known how much it had used before")
	}
	for range 3 {
		for range maxSkipped {
			if !w.isQuiet(s) {
				t.Fatal("nothing happens in it")
			}
			s.rest(time.Now(), time.Second)
		}
		if w.isQuiet(s) {
			t.Error("now and then it is looked at")
		}
	}
	for name, change := range map[string]func(s *subject){
		"used more":     func(s *subject) { s.used-- },
		"news":          func(s *subject) { s.isMetered = false },
		"not told of":   func(s *subject) { s.target = nil },
		"just hurried":  func(s *subject) { s.looks = 1 },
		"blind":         func(s *subject) { s.found = found{processes: make([]technology.Process, 1)} },
		"settling":      func(s *subject) { s.found = found{commands: map[int]command{7: {}}} },
		"not in a view": func(s *subject) { s.group = nil },
		"unreadable":    func(s *subject) { s.group = &group{paths: []string{"/tallyman-test-nobody"}} },
	} {
		changed := *s
		if change(&changed); w.isQuiet(&changed) {
			t.Error(name)
		}
	}
}
