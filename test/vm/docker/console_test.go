package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConsoleKeepsAllAndShowsResults(t *testing.T) {
	lines := []string{"[ 1.0] boot\n", "=== RUN   TestA\n", "--- PASS: TestA (0.00s)\n", "    --- PASS: TestA/b (0.00s)\n"}
	f := func(all bool, want string) {
		t.Helper()
		var out strings.Builder
		c, err := openConsole(filepath.Join(t.TempDir(), "console.txt"), &out, all)
		require.NoError(t, err)
		for _, line := range lines {
			_, err = c.Write([]byte(line))
			require.NoError(t, err)
		}
		require.NoError(t, c.Close())
		require.Equal(t, want, out.String())
		text, err := os.ReadFile(c.name)
		require.NoError(t, err)
		require.Equal(t, strings.Join(lines, ""), string(text))

		out.Reset()
		require.NoError(t, c.printTail(3))
		require.NotContains(t, out.String(), "=== RUN")
		require.Contains(t, out.String(), c.name)
		require.Contains(t, out.String(), lines[2]+lines[3])
		require.NoError(t, c.printTail(100))
		require.Contains(t, out.String(), strings.Join(lines, ""))
	}
	f(false, lines[2])
	f(true, strings.Join(lines, ""))
}

func TestSilentConsoleSaysHowToSeeMore(t *testing.T) {
	var out strings.Builder
	c, err := openConsole(filepath.Join(t.TempDir(), "console.txt"), &out, false)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, c.printTail(10))
	require.Contains(t, out.String(), "-v shows how")
}

func TestParseOptions(t *testing.T) {
	opts, err := parseOptions([]string{"-deadline", "7s", "-v", "-run", "Killed"})
	require.NoError(t, err)
	require.Equal(t, 7*time.Second, opts.deadline)
	require.True(t, opts.verbose)
	require.Equal(t, "Killed", opts.run)
	require.Equal(t, "6.1", opts.kernel.Name)
	_, err = parseOptions([]string{"./internal/cgroup"})
	require.ErrorIs(t, err, errArguments)
	_, err = parseOptions([]string{"-kernel", "2.4"})
	require.ErrorContains(t, err, "have 6.1")
}

// What run.sh installs is what the second disk has.
func TestDiskAndScriptAgree(t *testing.T) {
	require.Contains(t, runScript, "/srv/"+versions[0].name+".deb")
	guest, err := os.ReadFile(filepath.Join("guest", "package_vm_test.go"))
	require.NoError(t, err)
	for _, v := range versions {
		for _, kind := range []string{".deb", ".rpm"} {
			require.Contains(t, string(guest), `"/srv/`+v.name+kind+`"`)
		}
	}
}
