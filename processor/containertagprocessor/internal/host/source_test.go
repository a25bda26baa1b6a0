package host_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/host"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/sinktest"
)

var _ entity.Source = (*host.Source)(nil)

func TestSource(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	root := t.TempDir()
	name := filepath.Join(root, "etc", "hostname")
	if err := os.Mkdir(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	rename := func(to string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(to), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rename("first")
	o := host.Options{Roots: hostfs.NewRoots(root), Interval: 10 * time.Millisecond}
	sink := new(sinktest.Recorder)
	stop := sinktest.Run(t, host.New(o), sink)
	sink.AwaitHost(t, "host.name", "first")
	sink.Await(t, "up host", 1)
	rename("second")
	sink.AwaitHost(t, "host.name", "second")
	stop()
	for _, call := range sink.Calls() {
		if call != "host host" && call != "up host" {
			t.Errorf("told %q", call)
		}
	}

	t.Log("the configured name wins")
	o.HostName = "given"
	other := new(sinktest.Recorder)
	sinktest.Run(t, host.New(o), other)
	other.AwaitHost(t, "host.name", "given")
	other.AwaitHost(t, "os.type", "linux")
}
