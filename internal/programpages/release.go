package programpages

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// ownProgram and ownMappings are of this process, wherever the host's /proc is.
	ownProgram  = "/proc/self/exe"
	ownMappings = "/proc/self/smaps"
)

// ErrNoMapping is what a process gets whose program cannot be found among its mappings, or
// has been changed in memory.
var ErrNoMapping = errors.New("no unchanged mapping of the program's file")

// Result says what was resident of the program's file, in bytes.
type Result struct {
	// Before counts the mappings that were released, as they were then.
	Before int64
	// After is what had come back of them by the time of the answer.
	After int64
}

// Release takes the program's file out of this process's page tables.
func Release() (Result, error) {
	program, err := os.Readlink(ownProgram)
	if err != nil {
		return Result{}, fmt.Errorf("find the program's file: %w", err)
	}
	before, err := read(program)
	if err != nil {
		return Result{}, err
	}
	if len(before) == 0 {
		return Result{}, fmt.Errorf("release %s: %w", program, ErrNoMapping)
	}
	for _, m := range before {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED); errno != 0 {
			return Result{}, fmt.Errorf("release %x-%x of %s: %w", m.start, m.end, program, errno)
		}
	}
	after, err := read(program)
	return Result{Before: resident(before), After: resident(after)}, err
}

func read(program string) ([]mapping, error) {
	text, err := os.ReadFile(ownMappings)
	if err != nil {
		return nil, fmt.Errorf("read mappings: %w", err)
	}
	found, err := parseMappings(text, program)
	if err != nil {
		return nil, fmt.Errorf("parse mappings: %w", err)
	}
	return found, nil
}

func resident(mappings []mapping) int64 {
	var sum int64
	for _, m := range mappings {
		sum += m.rss
	}
	return sum
}
