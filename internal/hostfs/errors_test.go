package hostfs_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

func TestNotSupportedError(t *testing.T) {
	err := fmt.Errorf("start: %w", &hostfs.NotSupportedError{Feature: "cgroup memory", Remedy: "boot with cgroup_enable=memory"})
	if !errors.Is(err, hostfs.ErrNotSupported) {
		t.Error("does not match ErrNotSupported")
	}
	if errors.Is(err, hostfs.ErrGone) {
		t.Error("matches ErrGone")
	}
	if want := "start: cgroup memory: not supported on this host (boot with cgroup_enable=memory)"; err.Error() != want {
		t.Errorf("text %q, want %q", err, want)
	}
	var typed *hostfs.NotSupportedError
	if !errors.As(err, &typed) || typed.Feature != "cgroup memory" {
		t.Errorf("feature is lost: %+v", typed)
	}
}
