package main

import (
	"errors"
	"flag"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/test/vm/machine"
)

func TestTablesAreSound(t *testing.T) {
	pinned := regexp.MustCompile(`^linux-image-\d+\.\d+\.\d+.*-amd64$`)
	seen := map[string]bool{}
	for _, k := range machine.Kernels() {
		require.False(t, seen[k.Name], "kernel %s is there twice", k.Name)
		require.Regexp(t, pinned, k.Package, "a meta package is not a pin")
		seen[k.Name] = true
	}
	for _, s := range suites() {
		require.False(t, seen[s.Name], "suite %s is there twice or named like a kernel", s.Name)
		require.NotEmpty(t, s.Packages)
		require.Equal(t, "test/vm/selftest", s.Packages[0])
		seen[s.Name] = true
		for _, pkg := range s.Packages {
			require.DirExists(t, filepath.Join("..", "..", pkg))
		}
	}
}

func TestParseOptions(t *testing.T) {
	opts, err := parseOptions([]string{"-suite", "selftest", "-deadline", "7s"})
	require.NoError(t, err)
	require.Equal(t, "selftest", opts.suite.Name)
	require.Equal(t, "6.1", opts.kernel.Name)
	require.Equal(t, 7*time.Second, opts.deadline)

	require.Equal(t, "-test.v -test.timeout=5m0s", opts.suite.arguments())

	opts, err = parseOptions([]string{"-suite", "network", "-run", "^TestA$"})
	require.NoError(t, err)
	require.Equal(t, "-test.v -test.timeout=5m0s -test.short -test.run=^TestA$", opts.suite.arguments())

	opts, err = parseOptions([]string{"./internal/cgroup/", "receiver/cgroupreceiver"})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff([]string{"internal/cgroup", "receiver/cgroupreceiver"}, opts.suite.Packages))

	_, err = parseOptions([]string{"-suite", "nope"})
	require.ErrorContains(t, err, `"nope"`)
	_, err = parseOptions([]string{"-kernel", "2.4"})
	require.ErrorContains(t, err, "have 6.1")
	_, err = parseOptions([]string{"-h"})
	require.True(t, errors.Is(err, flag.ErrHelp))
}
