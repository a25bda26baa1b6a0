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

// unit is how the agent runs in the guest.
//
//go:embed tallyman.service
var unit string

// payloadSize leaves the agent room to grow to five times its size. The file is sparse.
const payloadSize = "512M"

// payload is what the second disk holds: what is under test, which is the agent with its unit and default configuration,
// and the tests.
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
	agent := filepath.Join(p.root, "bin", "tallyman")
	err = machine.CheckStatic(agent)
	if err != nil {
		return "", fmt.Errorf("check the agent: %w", err)
	}
	err = errors.Join(
		machine.CopyFile(agent, filepath.Join(tree, "tallyman"), 0o755),
		machine.CopyFile(filepath.Join(p.root, "otelcol-config.yaml"), filepath.Join(tree, "config.yaml"), 0o644),
		writeFiles(tree, map[string]string{
			"run.sh": runScript, "tallyman.service": unit,
			"package": guestPackage + "\n", "timeout": testTimeout.String() + "\n", "run": p.run + "\n",
		}))
	if err != nil {
		return "", err
	}
	disk := filepath.Join(p.work, "payload.img")
	return disk, makeFileSystem(ctx, fileSystem{tree: tree, file: disk, size: payloadSize})
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
