package programpages_test

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/programpages"
)

// touch has the kernel map all of this test's code and constants, and returns how much
// that is. Reading /proc/self/mem is like reading the memory itself.
func touch(t *testing.T) int64 {
	t.Helper()
	program, err := os.Readlink("/proc/self/exe")
	require.NoError(t, err)
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	memory, err := os.Open("/proc/self/mem")
	require.NoError(t, err)
	defer memory.Close()
	var sum int64
	for _, found := range regexp.MustCompile(`(?m)^(\w+)-(\w+) r-.p .* `+regexp.QuoteMeta(program)+`$`).FindAllSubmatch(maps, -1) {
		start, err := strconv.ParseInt(string(found[1]), 16, 64)
		require.NoError(t, err)
		end, err := strconv.ParseInt(string(found[2]), 16, 64)
		require.NoError(t, err)
		_, err = memory.ReadAt(make([]byte, end-start), start)
		require.NoError(t, err)
		sum += end - start
	}
	return sum
}

// This process goes on after all of its code was taken from it, with less of it resident.
func TestRelease(t *testing.T) {
	all := touch(t)
	require.Positive(t, all)
	got, err := programpages.Release()
	require.NoError(t, err)
	require.Equal(t, all, got.Before)
	// A test uses some hundred kilobytes of its four megabytes to get here.
	require.Less(t, got.After, all/2)

	runtime.GC() // looks at tables all over the constants
	require.Equal(t, "7", fmt.Sprint(3+4))
	again, err := programpages.Release()
	require.NoError(t, err)
	require.Less(t, again.Before, all)
}
