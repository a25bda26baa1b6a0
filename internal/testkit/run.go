package testkit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// enterAndExec moves the shell into each cgroup file named before "--" and
// becomes the program named after it, so that the program's first instruction
// is already accounted. A shell and not clone3's CLONE_INTO_CGROUP, which
// knows cgroup v2 only.
const enterAndExec = `while [ "$1" != -- ]; do echo $$ >"$1" || exit 125; shift; done; shift; exec "$@"`

// startWithin bounds fork, a few file writes and exec on a loaded machine.
const startWithin = 10 * time.Second

// Run starts a program inside the cgroup and returns when it has replaced the
// wrapper that took it there. Its standard output and error go to the test's.
// It is killed at the end of the test. The test may Wait for it, but not in a
// goroutine that outlives the test.
func Run(t testing.TB, group *Group, argv ...string) *exec.Cmd {
	t.Helper()
	args := append([]string{"-c", enterAndExec, "sh"}, group.procsFiles()...)
	args = append(append(args, "--"), argv...)
	cmd := exec.Command("/bin/sh", args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %q: %v", argv, err)
	}
	t.Cleanup(func() {
		// Both report an error when the test has already waited: fine.
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	if err := Poll(ctx, func() error { return pastWrapper(cmd.Process.Pid) }); err != nil {
		t.Fatalf("start %q in %s: %v", argv, group.Path(), err)
	}
	return cmd
}

var errWrapper = errors.New("still the wrapper")

// pastWrapper tells whether the process has become the wanted program, or has
// even ended. No command line is that of a zombie, which has no program file
// either, or of a process in the middle of exec, which has.
func pastWrapper(pid int) error {
	proc := "/proc/" + strconv.Itoa(pid)
	line, err := os.ReadFile(proc + "/cmdline")
	if err != nil {
		return fmt.Errorf("read command line: %w", err)
	}
	if bytes.Contains(line, []byte(enterAndExec)) {
		return errWrapper
	}
	if len(line) == 0 {
		if _, err := os.Readlink(proc + "/exe"); !errors.Is(err, fs.ErrNotExist) {
			return errWrapper
		}
	}
	return nil
}
