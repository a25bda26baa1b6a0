package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// diskSize is that of the small disk: a budget of the least size fits in.
const diskSize = 96 * mib

// noticed is within what the state of the disk is told: the recorder looks once a
// second, and an event frame is due every two.
const noticed = 20 * time.Second

// A disk that fills up costs metrics and events some of their past, and nobody else
// anything.
func TestRecorderDisk(t *testing.T) {
	t.Parallel()
	t.Run("full", diskFills)
	t.Run("budget", budgetTooSmall)
	t.Run("in use", directoryInUse)
	t.Run("not writable", directoryNotWritable)
}

// smallDisk mounts a file system of its own.
func smallDisk(t *testing.T) string {
	t.Helper()
	testkit.NeedRoot(t)
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tallyman-e2e", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("size=%d", diskSize)))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
	return dir
}

func diskFills(t *testing.T) {
	disk := smallDisk(t)
	engine := testkit.Docker(t)
	a := startRecorder(t, settings{
		env: []string{"TALLYMAN_DOCKER_HOST=" + engine.Host()},
		set: []string{
			"extensions::flight_recorder::directory: " + filepath.Join(disk, "recorder"),
			"extensions::flight_recorder::max_size_mib: 64",
		},
	})
	c := engine.RunContainer(t, testkit.ContainerSpec{Cmd: shell("while :; do sleep 1; done")})
	testkit.Eventually(t, soon, func() error { return errors.Join(a.hasPast(c.ID, 5), a.isHealthy()) })

	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	testkit.Eventually(t, noticed, func() error { return a.isBad("disk") })
	status, err := a.status()
	require.NoError(t, err)
	t.Logf("full: %q", status.Messages)
	a.goesOnWithoutDisk(t, c)
	stats, err := a.stats()
	require.NoError(t, err)
	require.Equal(t, "memory_only", stats.Mode)

	short := engine.RunContainer(t, testkit.ContainerSpec{Cmd: shell("exit 3")}) // its events wait in memory
	testkit.Eventually(t, soon, func() error {
		_, err := a.only(short.ID, "container.stop")
		return err
	})
	require.NoError(t, os.Remove(ballast))
	testkit.Eventually(t, noticed, a.isHealthy)
	at := time.Now().Unix()
	testkit.Eventually(t, soon, func() error { return a.recordsSince(c.ID, at) })
	_, code := a.stop()
	require.Zero(t, code)

	a = startRecorder(t, settings{state: a.state, set: []string{"extensions::flight_recorder::directory: " + filepath.Join(disk, "recorder"), "extensions::flight_recorder::max_size_mib: 64"}})
	_, err = a.only(short.ID, "container.stop")
	require.NoError(t, err, "events from the time of the full disk were written")
	found, err := a.matrix(fmt.Sprintf("container_uptime_seconds{container_id=%q}", c.ID), span{at, at + 3})
	require.NoError(t, err)
	require.Len(t, found, 1, "samples from after that time were written")
}

// fill writes until nothing fits any more.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	require.NoError(t, err)
	defer file.Close()
	for block := make([]byte, 256<<10); err == nil; {
		_, err = file.Write(block)
	}
	require.ErrorIs(t, err, unix.ENOSPC)
}

func (a *recorderAgent) isHealthy() error {
	status, err := a.status()
	if err == nil && status.Health == "bad" {
		err = fmt.Errorf("health %s: %q: %w", status.Health, status.Messages, errNotYet)
	}
	return err
}

func (a *recorderAgent) isBad(about string) error {
	status, err := a.status()
	if err == nil && (status.Health != "bad" || !strings.Contains(strings.Join(status.Messages, " "), about)) {
		err = fmt.Errorf("health %s: %q: %w", status.Health, status.Messages, errNotYet)
	}
	return err
}

// goesOnWithoutDisk proves that others get what they always get, and that the newest
// is there to be seen.
func (a *recorderAgent) goesOnWithoutDisk(t *testing.T, c *testkit.Container) {
	t.Helper()
	uptime := func() (float64, error) {
		now, err := a.figures(c.ID)
		if err != nil {
			return 0, err
		}
		for name, p := range now {
			if strings.HasPrefix(string(name), "container_uptime_seconds") {
				return p.value, nil
			}
		}
		return 0, errMissing
	}
	first, err := uptime()
	require.NoError(t, err)
	testkit.Eventually(t, soon, func() error {
		now, err := uptime()
		if err == nil && now < first+3 {
			err = fmt.Errorf("up for %.0f s: %w", now, errIdle)
		}
		return err
	})
	testkit.Eventually(t, soon, func() error { return a.recordsSince(c.ID, time.Now().Unix()-3) })
	require.NoError(t, a.healthy())
	require.NoError(t, a.alive())
}

// recordsSince returns nil if there is a sample of a container since then.
func (a *recorderAgent) recordsSince(id string, second int64) error {
	at, err := a.value(fmt.Sprintf("timestamp(container_uptime_seconds{container_id=%q})", id))
	if err == nil && at < float64(second) {
		err = fmt.Errorf("newest sample %.1f s before: %w", float64(second)-at, errNotYet)
	}
	return err
}

// budgetTooSmall: what can never do, and what cannot hold what is there.
func budgetTooSmall(t *testing.T) {
	log, code := launch(t, alone(t, "extensions::flight_recorder::max_size_mib: 63")).wait(refuseWithin)
	t.Log(lastLine(log))
	require.Positive(t, code)
	require.Contains(t, lastWords(log), "max_size_mib")

	s := alone(t)
	s.state = pastOf(t, burst{series: 2000, minutes: 26}) // 54 MB for 20 minutes; metrics get 40 of 64
	s.set = append(s.set, "extensions::flight_recorder::max_size_mib: 64")
	log, code = launch(t, s).wait(refuseWithin)
	t.Log(lastLine(log))
	require.Positive(t, code, "started with a budget that holds nothing")
	for _, part := range []string{"flight_recorder", "max_size_mib", "budget"} {
		require.Contains(t, lastWords(log), part)
	}
}

func directoryInUse(t *testing.T) {
	a := startRecorder(t, alone(t))
	log, code := launch(t, alone(t, "extensions::flight_recorder::directory: "+a.directory())).wait(refuseWithin)
	t.Log(lastLine(log))
	require.Positive(t, code)
	for _, part := range []string{"flight_recorder", "directory", a.directory(), "another recorder uses this folder"} {
		require.Contains(t, lastWords(log), part)
	}
	require.NoError(t, a.isHealthy())
}

func directoryNotWritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, place := range []string{filepath.Join(file, "recorder"), "/proc/recorder"} {
		log, code := launch(t, alone(t, "extensions::flight_recorder::directory: "+place)).wait(refuseWithin)
		t.Log(lastLine(log))
		require.Positive(t, code, "wrote below %s", place)
		for _, part := range []string{"flight_recorder", "directory", filepath.Dir(place)} {
			require.Contains(t, lastWords(log), part)
		}
	}
}
