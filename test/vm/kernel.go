package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// errKernelAbsent says that apt does not offer the package a kernel row names.
var errKernelAbsent = errors.New("kernel package not to be had")

// image is an extracted kernel package.
type image struct {
	vmlinuz string // file
	modules string // folder of one kernel version, below lib/modules
}

// fetchKernel returns the image of k from the cache, which it fills when needed.
func fetchKernel(ctx context.Context, k kernel, cache string) (image, error) {
	dir := filepath.Join(cache, k.Package)
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = downloadKernel(ctx, k, cache)
	}
	if err != nil {
		return image{}, fmt.Errorf("fetch kernel %s: %w", k.Name, err)
	}
	return openImage(dir)
}

// downloadKernel fills the cache. The rename at the end makes the kernel appear as a whole or not at all.
func downloadKernel(ctx context.Context, k kernel, cache string) error {
	err := os.MkdirAll(cache, 0o755)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(cache, "download-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	deb, err := downloadPackage(ctx, k, work)
	if err != nil {
		return err
	}
	tree := filepath.Join(work, "tree")
	err = command(ctx, work, "dpkg-deb", "-x", deb, tree)
	if err != nil {
		return err
	}
	err = os.Rename(tree, filepath.Join(cache, k.Package))
	if errors.Is(err, fs.ErrExist) {
		return nil // another run was faster
	}
	return err
}

// downloadPackage puts the package of k into the folder work and returns the file.
func downloadPackage(ctx context.Context, k kernel, work string) (string, error) {
	// apt would else try to drop to a user who may not enter the cache folder, and warn about it.
	args := []string{"-q", "-o", "APT::Sandbox::User=root"}
	if k.Release != "" {
		source, err := sourceOf(ctx, k.Release)
		if err != nil {
			return "", err
		}
		private, err := privateState(ctx, source, work)
		if err != nil {
			return "", err
		}
		args = append(args, private...)
	}
	err := command(ctx, work, "apt-get", append(args, "download", k.Package)...)
	if err != nil {
		return "", fmt.Errorf("%w: %s (apt-get update; or Debian has replaced it: name a newer one in test/vm/tables.go): %w",
			errKernelAbsent, k.Package, err)
	}
	return single(filepath.Join(work, "*.deb"))
}

// sourceOf is the source line of another Debian release on the mirror that this host uses for its own.
func sourceOf(ctx context.Context, release string) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages").Output()
	if err != nil {
		return "", fmt.Errorf("ask apt for its mirror: %w", err)
	}
	for site := range strings.Lines(string(out)) {
		if site = strings.TrimSpace(site); strings.HasSuffix(site, "/debian") {
			return fmt.Sprintf("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main", site, release), nil
		}
	}
	return "", fmt.Errorf("%w: no Debian mirror among apt's sources to fetch %s from", errKernelAbsent, release)
}

// privateState lets apt know one source line without touching the host's lists, and returns the options for it.
func privateState(ctx context.Context, source, work string) ([]string, error) {
	state := filepath.Join(work, "apt")
	list := filepath.Join(state, "sources.list")
	err := os.MkdirAll(filepath.Join(state, "lists", "partial"), 0o755)
	if err != nil {
		return nil, err
	}
	err = os.WriteFile(list, []byte(source+"\n"), 0o644)
	if err != nil {
		return nil, err
	}
	args := []string{
		"-o", "APT::Architecture=amd64",
		"-o", "Dir::State=" + state,
		"-o", "Dir::Cache=" + filepath.Join(state, "cache"),
		"-o", "Dir::Etc::sourcelist=" + list,
		"-o", "Dir::Etc::sourceparts=/dev/null",
	}
	update := append([]string{"-q", "-o", "APT::Sandbox::User=root"}, args...)
	return args, command(ctx, work, "apt-get", append(update, "update")...)
}

// openImage finds the parts of an extracted package. Newer Debian releases keep modules below usr/lib.
func openImage(dir string) (image, error) {
	vmlinuz, err := single(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil {
		return image{}, err
	}
	version := strings.TrimPrefix(filepath.Base(vmlinuz), "vmlinuz-")
	for _, lib := range []string{"lib", "usr/lib"} {
		modules := filepath.Join(dir, lib, "modules", version)
		_, err = os.Stat(modules)
		if err == nil {
			return image{vmlinuz: vmlinuz, modules: modules}, nil
		}
	}
	return image{}, fmt.Errorf("find modules of %s: %w", version, err)
}

// single returns the one file that matches pattern.
func single(pattern string) (string, error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	if len(files) != 1 {
		return "", fmt.Errorf("find %s: %d matches, want one", pattern, len(files))
	}
	return files[0], nil
}
