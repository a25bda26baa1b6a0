package testkit_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

type exitError = exec.ExitError

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// children counts the direct children of a process.
func children(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(strings.Fields(string(text)))
}
