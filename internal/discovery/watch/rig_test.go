package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// soon is what the issue grants for starts and ends.
const soon = 5 * time.Second

// within is for the same on a machine that others load.
const within = 30 * time.Second

// rig is a running watch with what it told last.
type rig struct {
	*Watch
	mu   sync.Mutex // guards all below
	last map[string]*target.Target
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	r := &rig{}
	o.Roots = hostfs.NewRoots("/")
	o.Changed = func(all []*target.Target) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.last = map[string]*target.Target{}
		for _, one := range all {
			r.last[one.ID] = one
		}
	}
	var err error
	if r.Watch, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

// view is a look at the cgroups of this host, with a process stream if there can
// be one.
func view(t *testing.T) *hostview.View {
	t.Helper()
	testkit.NeedCgroup(t)
	v, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/"), ProcessStream: hostview.ProcessStreamAuto, RingBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Release)
	return v
}

func (r *rig) target(id string) *target.Target {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[id]
}

// expect waits until the target of a container satisfies the condition.
func (r *rig) expect(t *testing.T, id string, condition func(*target.Target) error) *target.Target {
	t.Helper()
	var found *target.Target
	testkit.Eventually(t, within, func() error {
		if found = r.target(id); found == nil {
			return errors.New("not told of")
		}
		if err := condition(found); err != nil {
			return fmt.Errorf("%w: %+v", err, found)
		}
		return nil
	})
	return found
}

func (r *rig) expectGone(t *testing.T, id string) {
	t.Helper()
	testkit.Eventually(t, within, func() error {
		if r.target(id) != nil {
			return errors.New("still told of")
		}
		return nil
	})
}

// listens is a condition: exactly these are open, as "tcp 0.0.0.0:80 program".
func listens(want ...string) func(*target.Target) error {
	return func(got *target.Target) error {
		var all []string
		for _, l := range got.Listening {
			all = append(all, fmt.Sprintf("%s %s %s", l.Protocol, l.Addr, l.Executable))
		}
		if a, b := strings.Join(all, ", "), strings.Join(want, ", "); a != b {
			return fmt.Errorf("listens at %q, want %q", a, b)
		}
		return nil
	}
}

// program copies the test's binary under another name.
func program(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	path := filepath.Join(t.TempDir(), name)
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// newID is a container id that nobody else has.
func newID(n int) string {
	text := fmt.Sprintf("%x%x%x", os.Getpid(), time.Now().UnixNano(), n)
	return text + strings.Repeat("e", 64-len(text))
}
