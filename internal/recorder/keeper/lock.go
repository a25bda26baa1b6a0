package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// layout is the version of the folder: raw/, events/, entities.jsonl, captures/.
const layout = 1

var (
	// ErrInUse says that another process has the folder.
	ErrInUse = errors.New("another recorder uses this folder")
	// ErrNewer says that a later version of the agent has written the folder.
	ErrNewer = errors.New("written by a newer version (take another directory, or that version)")
	// ErrForeign says that the folder holds something else.
	ErrForeign = errors.New("the folder holds something that is not the recorder's (give it a folder of its own)")
)

// lock takes a folder for this process; closing the file gives it back, as the end
// of the process does.
func lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make recorder folder: %w", err)
	}
	if err := checkOwn(dir); err != nil {
		return nil, fmt.Errorf("take %s: %w", dir, err)
	}
	// Command lines and logs are for the owner alone, also in a folder that was
	// there before.
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("close recorder folder to others: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock recorder folder: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := checkVersion(filepath.Join(dir, "version")); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// checkOwn refuses a folder of others, such as /tmp, which would be closed to them.
func checkOwn(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	foreign := false
	for _, e := range entries {
		switch e.Name() {
		case "version", "LOCK":
			return nil
		case "lost+found": // of a file system of its own
		default:
			foreign = true
		}
	}
	if foreign {
		return ErrForeign
	}
	return nil
}

// checkVersion writes the version of a new folder.
func checkVersion(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		err = os.WriteFile(path, []byte(strconv.Itoa(layout)+"\n"), 0o600)
		if errors.Is(err, unix.ENOSPC) {
			return nil // the stores say what a full disk means for them
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("read version of recorder folder: %w", err)
	}
	version, err := strconv.Atoi(strings.TrimSpace(string(text)))
	switch {
	case err != nil: // torn by a crash or a full disk: there is only one so far
		return os.WriteFile(path, []byte(strconv.Itoa(layout)+"\n"), 0o600)
	case version > layout:
		return fmt.Errorf("read recorder folder %s: %w", filepath.Dir(path), ErrNewer)
	}
	return nil
}
