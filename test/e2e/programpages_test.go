package e2e_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// gaveBack is the line of program_pages, with what was resident before and after.
var gaveBack = regexp.MustCompile(`gave pages of the program file back.*"resident.before": (\d+), "resident.after": (\d+)`)

// An agent has less of its program resident than its start left there, says so, and goes on.
func TestProgramPages(t *testing.T) {
	a := startAgent(t, settings{set: []string{"extensions::program_pages::after: 5s"}})
	program, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(a.cmd.Process.Pid), "exe"))
	require.NoError(t, err)
	var before, after int64
	testkit.Eventually(t, soon, func() error {
		found := gaveBack.FindStringSubmatch(a.log())
		if found == nil {
			return errors.New("nothing given back yet")
		}
		before, err = strconv.ParseInt(found[1], 10, 64)
		require.NoError(t, err)
		after, err = strconv.ParseInt(found[2], 10, 64)
		require.NoError(t, err)
		return nil
	})
	require.Greater(t, before, 4*after)
	_, err = a.page() // comes from pages that are back
	require.NoError(t, err)
	require.NoError(t, a.healthy())
	require.Less(t, residentOf(t, a.cmd.Process.Pid, program), before)
	log, code := a.stop()
	require.Zero(t, code)
	require.Equal(t, 1, strings.Count(log, "gave pages"), "once")
}

// residentOf is how much of the mappings of a file is resident that nobody may write to, in bytes.
func residentOf(t *testing.T, pid int, file string) int64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "smaps"))
	require.NoError(t, err)
	var sum int64
	for _, found := range regexp.MustCompile(`(?m)^\S+ r-.p .*`+regexp.QuoteMeta(file)+`\n(?:[A-Z]\w+:.*\n)*?Rss: +(\d+) kB$`).FindAllSubmatch(text, -1) {
		kilobytes, err := strconv.ParseInt(string(found[1]), 10, 64)
		require.NoError(t, err)
		sum += kilobytes << 10
	}
	require.Positive(t, sum)
	return sum
}
