package e2e_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// nobody is a user without any rights, on Debian and elsewhere.
const nobody = 65534

// The default configuration has nothing to complain about, whoever starts it.
func TestQuietStart(t *testing.T) {
	t.Parallel()
	engine := testkit.Docker(t)
	testkit.NeedRoot(t) // to become somebody else
	c := engine.RunContainer(t, testkit.ContainerSpec{Name: "quiet"})
	absent := "DOCKER_HOST=unix://" + filepath.Join(t.TempDir(), "absent.sock")
	plain := &syscall.Credential{Uid: nobody, Gid: nobody}
	for name, s := range map[string]settings{
		"root with docker":      {env: []string{"DOCKER_HOST=" + engine.Host()}},
		"root without docker":   {env: []string{absent}},
		"plain user":            {env: []string{"DOCKER_HOST=" + engine.Host()}, user: plain},
		"plain user, no docker": {env: []string{absent}, user: plain},
		"root with slow passes": {set: []string{"receivers::cgroup::collection_interval: 2s"}},
		"root, processes unseen": {set: []string{
			"receivers::cgroup::process_stream: 'off'", "receivers::uds_statsd::process_stream: 'off'",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startAgent(t, s)
			visible := engine.RunContainer(t, testkit.ContainerSpec{Name: "seen"})
			for _, id := range []string{c.ID, visible.ID} {
				testkit.Eventually(t, soon, func() error { return a.onPage(id) })
			}
			testkit.Eventually(t, soon, func() error { return a.hasEvent(visible.ID, "container.start") })
			testkit.Eventually(t, soon, a.hasSecondPass(c.ID))
			require.Empty(t, complaints(a.log()))
			log, code := a.stop()
			require.Zero(t, code)
			require.Empty(t, complaints(log))
		})
	}
}

// hasSecondPass waits until the container and the host were measured twice.
func (a *agent) hasSecondPass(id string) func() error {
	var first figures
	return func() error {
		now, err := a.page()
		if err != nil {
			return err
		}
		const uptime, disk = "container_uptime_seconds", "system_disk_io_bytes_total"
		if now[""].sum(disk) == 0 {
			return fmt.Errorf("%s: %w", disk, errMissing)
		}
		if first == nil {
			first = now[id]
		}
		if now[id][uptime].value <= first[uptime].value {
			return errors.Join(errIdle, now[id].want(uptime, first[uptime].value))
		}
		return nil
	}
}
