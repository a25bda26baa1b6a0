package settings_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/settings"
)

func TestDefault(t *testing.T) {
	s := settings.Default()
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

// Each mistake is named with its key, all of them at once.
func TestCheck(t *testing.T) {
	f := func(change func(*settings.Settings), want ...string) {
		t.Helper()
		s := settings.Default()
		change(&s)
		err := s.Check()
		if err == nil {
			t.Fatal("no error")
		}
		if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	f(func(s *settings.Settings) { s.RootPath = "host" }, `root_path: "host" is not an absolute path`)
	f(func(s *settings.Settings) { s.Endpoint = "/var/run/docker.sock" },
		`endpoint: "/var/run/docker.sock" is neither unix:// with an absolute path nor tcp:// with host and port (or none, for cgroups alone)`)
	f(func(s *settings.Settings) { s.LookInterval = time.Millisecond }, "look_interval: 1ms is not between 1s and 10m0s")
	f(func(s *settings.Settings) { s.Limits.Receivers = 5001 }, "limits.receivers: 5001 is not between 1 and 5000")
	f(func(s *settings.Settings) {
		s.LookInterval, s.Limits.Receivers = time.Hour, 0
		s.Rules = []rules.Config{{Name: "broken", Rule: "prot == 80", Receiver: "nginx"}}
	},
		"look_interval: 1h0m0s is not between 1s and 10m0s", "limits.receivers: 0 is not between 1 and 5000",
		`rules[0]: rule "broken": compile rule: line 1, column 1: unknown name prot`)
}
