package main

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// The test binary run again with asCommand is tallymanctl itself; with hideEnv
// as well it first covers that directory with an empty one.
const (
	asCommand = "TALLYMAN_TEST_AS_COMMAND"
	hideEnv   = "TALLYMAN_TEST_HIDE"
)

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) == "" {
		testkit.Main(m)
	}
	if dir := os.Getenv(hideEnv); dir != "" {
		if err := syscall.Mount("none", dir, "tmpfs", 0, ""); err != nil {
			fmt.Fprintln(os.Stderr, "hide", dir, err)
			os.Exit(125)
		}
	}
	main()
}

// call runs a command in this process.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, &out, &err)
	return code, out.String(), err.String()
}

func TestVersionForm(t *testing.T) {
	code, out, _ := call(t, "--version")
	require.Equal(t, exitOK, code)
	require.Equal(t, "tallymanctl version "+version+"\n", out)
}

func TestWrongCalls(t *testing.T) {
	f := func(names string, args ...string) {
		t.Helper()
		code, out, err := call(t, args...)
		require.Equal(t, exitUsage, code, args)
		require.Empty(t, out)
		require.Contains(t, err, names)
		require.Contains(t, err, "--help")
	}
	f("nonsense", "nonsense")
	f("--bogus", "--bogus")
	f("--bogus", "doctor", "--bogus")
	f(`"extra"`, "doctor", "extra")
	f(`"relative/path"`, "doctor", "--root-path", "relative/path")
}

func TestHelp(t *testing.T) {
	code, out, _ := call(t)
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "doctor")
	code, out, _ = call(t, "doctor", "--help")
	require.Equal(t, exitOK, code)
	for _, part := range []string{"Exit code: 0", "--root-path", "--docker-host", "--state-dir", "--statsd-dir", "--json", "--verbose"} {
		require.Contains(t, out, part)
	}
}
