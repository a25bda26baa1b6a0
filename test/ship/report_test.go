package ship_test

import (
	"archive/zip"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// captureWithin is two minutes, which a capture goes on after its trigger, and what a busy
// machine takes to write it.
const captureWithin = 4 * time.Minute

// mib is a mebibyte in bytes.
const mib = 1 << 20

// victim starts a container whose child is OOM-killed some seconds later.
func (w *world) victim(t *testing.T) *testkit.Container {
	t.Helper()
	return w.engine.RunContainer(t, testkit.ContainerSpec{
		Name: w.name + "-victim", Memory: 16 * mib, MemorySwap: 16 * mib,
		Cmd: shell(`sleep 5; tail /dev/zero; sleep 100000`),
	})
}

// reports waits for the capture of the victim: it has what the kernel said.
func (a *agent) reports(t *testing.T, victim *testkit.Container) {
	t.Helper()
	testkit.Eventually(t, captureWithin, func() error {
		files, err := filepath.Glob(filepath.Join(a.state, "recorder/captures/*.tmcap"))
		if err != nil {
			return err
		}
		missing := errMissing
		for _, file := range files {
			manifest, err := member(file, "manifest.json")
			if err != nil || !strings.Contains(manifest, victim.ID) {
				missing = errors.Join(missing, err)
				continue
			}
			said, err := member(file, "oom/kmsg.txt")
			if err == nil && strings.Contains(strings.ToLower(said), "memory cgroup out of memory") {
				return nil
			}
			missing = errors.Join(missing, err)
		}
		return missing
	})
}

// member is the text of a file in a capture.
func member(file, name string) (string, error) {
	bundle, err := zip.OpenReader(file)
	if err != nil {
		return "", err
	}
	defer bundle.Close()
	f, err := bundle.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	return string(text), err
}
