package machine

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

var (
	// ErrNoBinary says that a package has no tests under its build tag.
	ErrNoBinary = errors.New("package has no tests")
	// ErrNotStatic says that a program needs libraries which a guest may not have.
	ErrNotStatic = errors.New("binary is not static")
)

// TestBinary says what to build for a guest.
type TestBinary struct {
	Root    string // repository
	Package string // folder below Root
	Tag     string // build tag of tests that make sense in the guest only
	Output  string // file
}

// Build builds the static test binary.
func (b TestBinary) Build(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-tags", b.Tag, "-ldflags", "-s -w", "-o", b.Output, "./"+b.Package)
	cmd.Dir = b.Root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	text, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go test -c: %w: %s", err, strings.TrimSpace(string(text)))
	}
	err = CheckStatic(b.Output)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNoBinary
	}
	return err
}

// CheckStatic refuses a program that asks for a dynamic loader.
func CheckStatic(file string) error {
	f, err := elf.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%w: %s", ErrNotStatic, file)
		}
	}
	return nil
}
