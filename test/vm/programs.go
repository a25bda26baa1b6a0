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

	"github.com/tallymanhq/tallyman/test/vm/machine"
)

// programFolder of the guest comes before busybox' in its PATH: some of these programs have a small namesake there.
const programFolder = "sbin"

// addProgram copies a program of the host and the libraries it is linked with, to where its loader looks for them.
func (g *guestTree) addProgram(ctx context.Context, name string) error {
	file, err := findProgram(name)
	if err != nil {
		return err
	}
	err = g.addFile(file, filepath.Join(programFolder, name))
	if err != nil {
		return err
	}
	text, err := exec.CommandContext(ctx, "ldd", file).Output()
	if err != nil {
		return fmt.Errorf("list libraries of %s: %w", file, err)
	}
	for _, library := range parseLibraries(string(text)) {
		err = g.addFile(library, library)
		if err != nil {
			return err
		}
	}
	return nil
}

// findProgram looks also where administrators' programs are, which is not in everybody's PATH.
func findProgram(name string) (string, error) {
	file, err := exec.LookPath(name)
	if err == nil {
		return file, nil
	}
	for _, folder := range []string{"/usr/sbin", "/sbin"} {
		file, errThere := exec.LookPath(filepath.Join(folder, name))
		if errThere == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("find program %s: %w (make setup)", name, err)
}

// parseLibraries takes what ldd prints, and returns the files: lines such as
// "libmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007fb7f2317000)", the loader's "/lib64/ld-linux-x86-64.so.2 (0x00007fb7f243f000)",
// and one of the kernel's own, without a file.
func parseLibraries(text string) []string {
	var files []string
	for line := range strings.Lines(text) {
		for field := range strings.FieldsSeq(line) {
			if strings.HasPrefix(field, "/") {
				files = append(files, field)
				break
			}
		}
	}
	return files
}

// addFile copies a file of the host into the tree, unless it is there.
func (g *guestTree) addFile(from, to string) error {
	target := filepath.Join(g.dir, to)
	err := os.MkdirAll(filepath.Dir(target), 0o755)
	if err != nil {
		return err
	}
	err = machine.CopyFile(from, target, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
