package hostfs

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// ErrGone says that the thing a file described no longer exists: the cgroup
// was removed, the process has exited. It is a normal result.
var ErrGone = errors.New("gone")

// ErrNotSupported says that this host cannot provide something at all, as
// opposed to a read that went wrong. Match it with errors.Is; use a
// [NotSupportedError] to say what is missing and what helps.
var ErrNotSupported = errors.New("not supported on this host")

// NotSupportedError names a missing host feature and its remedy.
type NotSupportedError struct {
	// Feature is what is missing, for example "cgroup".
	Feature string
	// Remedy is what the user can do about it, one sentence.
	Remedy string
	// Err is what the kernel said; may be nil.
	Err error
}

// Error implements error.
func (e *NotSupportedError) Error() string {
	return fmt.Sprintf("%s: %v (%s)", e.Feature, ErrNotSupported, e.Remedy)
}

// Unwrap returns what the kernel said.
func (e *NotSupportedError) Unwrap() error { return e.Err }

// Is makes every NotSupportedError match [ErrNotSupported].
func (e *NotSupportedError) Is(target error) bool { return target == ErrNotSupported }

// classify turns the errors that mean "it is no longer there" into [ErrGone]:
// ENOENT from opening a path, ENODEV from a kept cgroup descriptor
// (kernfs_get_active refuses a removed node), ESRCH from a process' file.
func classify(verb, path string, err error) error {
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESRCH) || errors.Is(err, fs.ErrNotExist) {
		return ErrGone
	}
	return fmt.Errorf("%s %s: %w", verb, path, err)
}
