package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseFlags(t *testing.T) {
	o, err := parseFlags(nil)
	require.NoError(t, err)
	require.Equal(t, []int{57, 207}, o.counts)
	require.Equal(t, time.Minute, o.window)
	require.NotEmpty(t, o.page)

	o, err = parseFlags([]string{"-quick", "-only", "cgroup,cadvisor"})
	require.NoError(t, err)
	require.Equal(t, []int{7}, o.counts)
	require.Equal(t, []string{"cgroup", "cadvisor"}, o.only)
	require.Empty(t, o.page, "what is not the whole table stays off the page")

	for _, wrong := range [][]string{
		{"-n", "0"}, {"-n", "7,x"}, {"-n", "57,7"}, {"-rounds", "0"}, {"-window", "1ms"}, {"-only", "cgroup,nobody"},
	} {
		_, err := parseFlags(wrong)
		require.Error(t, err, wrong)
	}
}

// A row can be named, started, and waited for, and its configuration exists.
func TestVariants(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range variants() {
		require.False(t, seen[v.name], "two rows are named %s", v.name)
		seen[v.name] = true
		require.NotEmpty(t, v.title)
		require.NotNil(t, v.meter(setting{}))
		argv := v.argv(setting{dir: "bin", engine: "unix:///e"})
		for i, word := range argv {
			if word == "--config" {
				_, err := os.Stat(filepath.Join("../../..", argv[i+1]))
				require.NoError(t, err)
			}
		}
	}
}

func TestEnvironComesOnTop(t *testing.T) {
	env := find(t, "docker_stats").environ(setting{engine: "unix:///e", api: "1.41"})
	require.Greater(t, len(env), len(os.Environ()))
	require.Contains(t, env, "BENCH_ENGINE=unix:///e")
	require.Contains(t, env, "BENCH_API=1.41")
	require.Equal(t, os.Environ(), find(t, "cgroup").environ(setting{}))
}

func TestParallelStopsAtTheFirstError(t *testing.T) {
	var calls atomic.Int32
	require.NoError(t, parallel(50, func(int) error { calls.Add(1); return nil }))
	require.EqualValues(t, 50, calls.Load())

	calls.Store(0)
	errBroken := errors.New("broken")
	err := parallel(1000, func(int) error { calls.Add(1); return errBroken })
	require.ErrorIs(t, err, errBroken)
	require.LessOrEqual(t, calls.Load(), int32(2*starters))
}

func TestProgramThatEndsTellsWhy(t *testing.T) {
	shell := func(script string) variant {
		return variant{name: "shell", argv: func(setting) []string { return []string{"/bin/sh", "-c", script} }}
	}
	p, err := start(shell("echo no such thing; exit 3"), setting{}, filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	<-p.ended
	err = p.alive()
	require.ErrorIs(t, err, errEnded)
	require.ErrorContains(t, err, "no such thing")
	require.ErrorContains(t, err, "exit status 3")

	p, err = start(shell("exec sleep 1000"), setting{}, filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	require.NoError(t, p.alive())
	p.stop()
	require.ErrorIs(t, p.alive(), errEnded)
}

func TestHostFacts(t *testing.T) {
	require.Equal(t, "AMD EPYC 7B13", parseModel("processor\t: 0\nmodel name\t: AMD EPYC 7B13\n"))
	require.NotEmpty(t, parseModel("Features : fp\n"))

	const v1, v2 = "30 25 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "31 25 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
	require.Equal(t, "hybrid cgroups", parseLayout(v1+v2))
	require.Equal(t, "cgroup v1", parseLayout(v1))
	require.Equal(t, "cgroup v2", parseLayout(v2))
	require.Equal(t, "no cgroups", parseLayout(strings.ReplaceAll(v1, "cgroup ", "tmpfs ")))
}

func TestOrderTurns(t *testing.T) {
	require.Equal(t, []int{0, 1, 2}, order(3, 0))
	require.Equal(t, []int{2, 1, 0}, order(3, 1))
	require.Equal(t, []int{0, 1, 2}, order(3, 2))
}
