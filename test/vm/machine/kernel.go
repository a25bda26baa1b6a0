package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrKernelAbsent says that apt does not offer the package a kernel row names.
var ErrKernelAbsent = errors.New("kernel package not to be had")

// Image is an extracted kernel package.
type Image struct {
	Vmlinuz string // file
	Modules string // folder of one kernel version, below lib/modules
}

// FetchKernel returns the image of k from the folder cache, which it fills when needed.
func FetchKernel(ctx context.Context, k Kernel, cache string) (Image, error) {
	dir := filepath.Join(cache, k.Package)
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = downloadKernel(ctx, k, cache)
	}
	if err != nil {
		return Image{}, fmt.Errorf("fetch kernel %s: %w", k.Name, err)
	}
	return openImage(dir)
}

// downloadKernel fills the cache. The rename at the end makes the kernel appear as a whole or not at all.
func downloadKernel(ctx context.Context, k Kernel, cache string) error {
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
	err = Command(ctx, work, "dpkg-deb", "-x", deb, tree)
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
func downloadPackage(ctx context.Context, k Kernel, work string) (string, error) {
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
	err := Command(ctx, work, "apt-get", append(args, "download", k.Package)...)
	if err != nil {
		return "", fmt.Errorf("%w: %s (apt-get update; or Debian has replaced it: name a newer one in test/vm/machine/kernels.go): %w",
			ErrKernelAbsent, k.Package, err)
	}
	return single(filepath.Join(work, "*.deb"))
}

// sourceOf is the source line of another Debian release.
func sourceOf(ctx context.Context, release string) (string, error) {
	mirror, err := Mirror(ctx)
	if err != nil {
		return "", fmt.Errorf("%w: fetch %s: %w", ErrKernelAbsent, release, err)
	}
	return fmt.Sprintf("deb [signed-by=%s] %s %s main", Keyring, mirror, release), nil
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
	return args, Command(ctx, work, "apt-get", append(update, "update")...)
}

// openImage finds the parts of an extracted package. Newer Debian releases keep modules below usr/lib.
func openImage(dir string) (Image, error) {
	vmlinuz, err := single(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil {
		return Image{}, err
	}
	version := strings.TrimPrefix(filepath.Base(vmlinuz), "vmlinuz-")
	for _, lib := range []string{"lib", "usr/lib"} {
		modules := filepath.Join(dir, lib, "modules", version)
		_, err = os.Stat(modules)
		if err == nil {
			return Image{Vmlinuz: vmlinuz, Modules: modules}, nil
		}
	}
	return Image{}, fmt.Errorf("find modules of %s: %w", version, err)
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
