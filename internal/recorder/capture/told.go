package capture

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Text is what an error says to somebody who is not on this host: of files it names
// the last part only.
func Text(err error) string {
	text := err.Error()
	for _, path := range pathsOf(err) {
		if filepath.IsAbs(path) {
			text = strings.ReplaceAll(text, path, filepath.Base(path))
		}
	}
	return text
}

// pathsOf are the files that an error and its causes are about.
func pathsOf(err error) []string {
	var paths []string
	switch e := err.(type) {
	case *fs.PathError:
		paths = append(paths, e.Path)
	case *os.LinkError:
		paths = append(paths, e.Old, e.New)
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if cause := e.Unwrap(); cause != nil {
			paths = append(paths, pathsOf(cause)...)
		}
	case interface{ Unwrap() []error }:
		for _, cause := range e.Unwrap() {
			paths = append(paths, pathsOf(cause)...)
		}
	}
	return paths
}

// IsFull tells of an error that a full disk, or a quota, is the cause of.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
