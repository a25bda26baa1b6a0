package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/test/vm/machine"
)

// rootSystem is what root would make, whoever runs the test.
func rootSystem(t *testing.T) system {
	t.Helper()
	modules := filepath.Join(t.TempDir(), "6.1.0-1-cloud-amd64")
	require.NoError(t, os.Mkdir(modules, 0o755))
	s := bookworm(machine.Kernel{Name: "6.1", Package: "linux-image-6.1.0-1-cloud-amd64"}, machine.Image{Modules: modules})
	s.uid = 0
	return s
}

func TestNameTellsDisksApart(t *testing.T) {
	seen := map[string]bool{}
	f := func(change func(*system)) {
		t.Helper()
		s := rootSystem(t)
		change(&s)
		name, err := s.name()
		require.NoError(t, err)
		require.Regexp(t, `^docker-[a-z]+-[0-9a-f]{12}\.img$`, name)
		require.False(t, seen[name], "%s is there twice", name)
		seen[name] = true
		again, err := s.name()
		require.NoError(t, err)
		require.Equal(t, name, again)
	}
	f(func(*system) {})
	f(func(s *system) { s.packages = append(s.packages, "podman") })
	f(func(s *system) { s.release = "trixie" })
	f(func(s *system) { s.masked = nil })
	f(func(s *system) { s.kernel.Package = "linux-image-6.1.0-2-cloud-amd64" })
}

func TestMissingProgramsAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := rootSystem(t).image(t.Context(), t.TempDir())
	require.ErrorIs(t, err, errHostLacks)
	for _, pkg := range []string{"apt-get install debootstrap", "apt-get install e2fsprogs"} {
		require.ErrorContains(t, err, pkg)
	}
}

func TestOnlyRootMakesTheDisk(t *testing.T) {
	fakePrograms(t, map[string]string{"unshare": "", "mke2fs": "", "debootstrap": ""})
	s := rootSystem(t)
	s.uid = 1000
	_, err := s.image(t.Context(), t.TempDir())
	require.ErrorIs(t, err, errNeedsRoot)
}

// wholeHost stands in for every program that makes a disk: debootstrap (behind unshare) leaves a tree in its one but last
// argument, mke2fs a file in the same place.
func wholeHost() map[string]string {
	const target = `for last; do before=$at; at=$last; done; `
	return map[string]string{
		"apt-get":     "echo http://mirror.test/debian",
		"debootstrap": "exit 9", // must not run outside of its name spaces
		"unshare":     target + `mkdir -p "$before/etc/systemd/system"`,
		"chroot":      "",
		"mke2fs":      target + `echo disk >"$before"`,
	}
}

func TestImageIsMadeOnce(t *testing.T) {
	fakePrograms(t, wholeHost())
	cache := t.TempDir()
	// What an interrupted run leaves behind does not count.
	require.NoError(t, os.MkdirAll(filepath.Join(cache, "build-1", "tree"), 0o755))
	s := rootSystem(t)
	file, err := s.image(t.Context(), cache)
	require.NoError(t, err)
	require.FileExists(t, file)
	left, err := filepath.Glob(filepath.Join(cache, "*"))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{file, filepath.Join(cache, "build-1")}, left)

	t.Setenv("PATH", t.TempDir())
	again, err := s.image(t.Context(), cache)
	require.NoError(t, err, "nothing is needed any more")
	require.Equal(t, file, again)
}

func TestBrokenStepLeavesNothing(t *testing.T) {
	f := func(program, script string, words ...string) {
		t.Helper()
		host := wholeHost()
		host[program] = script
		fakePrograms(t, host)
		cache := t.TempDir()
		_, err := rootSystem(t).image(t.Context(), cache)
		for _, word := range words {
			require.ErrorContains(t, err, word)
		}
		left, err := os.ReadDir(cache)
		require.NoError(t, err)
		require.Empty(t, left)
	}
	f("apt-get", "echo http://mirror.test/other", machine.ErrNoMirror.Error())
	f("unshare", "echo E: Release signed by unknown key; exit 1", "debootstrap", "unknown key")
	f("chroot", "echo depmod: ERROR; exit 1", "chroot", "depmod: ERROR")
	f("mke2fs", "echo no space; exit 1", "mke2fs", "no space")
}

func TestBaseIsCopied(t *testing.T) {
	tree := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(tree, "etc"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(tree, "etc", "hostname"), []byte("the host's\n"), 0o644))
	require.NoError(t, copyBase(tree))
	text, err := os.ReadFile(filepath.Join(tree, "etc", "hostname"))
	require.NoError(t, err)
	require.Equal(t, "tallyman-vm\n", string(text))
	require.FileExists(t, filepath.Join(tree, "etc", "systemd", "system", "tallyman-test.service"))
}

func TestNeedProgram(t *testing.T) {
	fakePrograms(t, map[string]string{"here": ""})
	require.NoError(t, needProgram("here", "a-package"))
	err := needProgram("elsewhere", "a-package")
	require.True(t, errors.Is(err, errHostLacks))
	require.ErrorContains(t, err, "a-package")
}

// fakePrograms puts scripts in the place of programs, before the real ones.
func fakePrograms(t *testing.T, scripts map[string]string) {
	t.Helper()
	bin := t.TempDir()
	for name, script := range scripts {
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
}
