package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tallymanhq/tallyman/test/vm/machine"
)

// runScript is the first thing that runs once the engine is up.
//
//go:embed run.sh
var runScript string

// payloadSize leaves the agent room to grow to four times its size: it is there four times, compressed. The file is
// sparse.
const payloadSize = "1G"

// versions of the packages, by their names on the disk: the product's own, and one that is newer.
var versions = []struct{ name, version string }{{"first", ""}, {"second", "9.0.0"}}

// payload is what the second disk holds: what is under test, which is the agent in packages of two versions, and the
// tests.
type payload struct {
	root, work string // folders: repository, of this run
	run        string // tests to run
}

// make makes the disk and returns its file.
func (p payload) make(ctx context.Context) (string, error) {
	tree := filepath.Join(p.work, "payload")
	err := os.Mkdir(tree, 0o755)
	if err != nil {
		return "", err
	}
	err = machine.TestBinary{Root: p.root, Package: guestPackage, Tag: "vmdocker", Output: filepath.Join(tree, "package.test")}.Build(ctx)
	if err != nil {
		return "", fmt.Errorf("build tests of %s: %w", guestPackage, err)
	}
	err = machine.CheckStatic(filepath.Join(p.root, "bin", "tallyman"))
	if err != nil {
		return "", fmt.Errorf("check the agent: %w", err)
	}
	for _, v := range versions {
		err = p.packages(ctx, filepath.Join(tree, v.name), v.version)
		if err != nil {
			return "", fmt.Errorf("make packages: %w", err)
		}
	}
	err = writeFiles(tree, map[string]string{
		"run.sh":  runScript,
		"package": guestPackage + "\n", "timeout": testTimeout.String() + "\n", "run": p.run + "\n",
	})
	if err != nil {
		return "", err
	}
	disk := filepath.Join(p.work, "payload.img")
	return disk, makeFileSystem(ctx, fileSystem{tree: tree, file: disk, size: payloadSize})
}

// packages makes the .deb and the .rpm of one version: base.deb and base.rpm. An empty version is the product's own.
func (p payload) packages(ctx context.Context, base, version string) error {
	out := filepath.Join(p.work, filepath.Base(base))
	args := []string{"--arch", "amd64", "--binaries", "bin", "--output", out}
	if version != "" {
		args = append(args, "--version", version)
	}
	err := machine.Command(ctx, p.root, filepath.Join(p.root, "scripts", "packages.sh"), args...)
	if err != nil {
		return err
	}
	for _, kind := range []string{".deb", ".rpm"} {
		made, err := filepath.Glob(filepath.Join(out, "*"+kind))
		if err != nil || len(made) != 1 {
			return fmt.Errorf("find the %s: %w", kind, errors.Join(fmt.Errorf("%d of them", len(made)), err))
		}
		err = os.Rename(made[0], base+kind)
		if err != nil {
			return err
		}
	}
	return nil
}

func writeFiles(dir string, files map[string]string) error {
	for name, text := range files {
		err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
		if err != nil {
			return err
		}
	}
	return nil
}
