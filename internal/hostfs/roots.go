package hostfs

import (
	"fmt"
	"os"
	"path/filepath"
)

// Roots says where the host's file systems are mounted, as seen by this
// process. On the host itself that is "/"; in a container it is wherever the
// host's root is bound, for example "/hostfs".
type Roots struct {
	// Root is the cleaned, absolute directory everything else lies below.
	Root string
	// Proc and Sys are the host's procfs and sysfs.
	Proc, Sys string
}

// NewRoots returns the usual layout below root: root/proc and root/sys.
// It does not touch the file system.
func NewRoots(root string) Roots {
	root = filepath.Clean("/" + root)
	return Roots{
		Root: root,
		Proc: filepath.Join(root, "proc"),
		Sys:  filepath.Join(root, "sys"),
	}
}

// IsHost reports whether the root is this process' own "/".
func (r Roots) IsHost() bool { return r.Root == "/" }

// CheckRoot returns an error if path cannot be the host's root: it must be
// absolute and a directory that is there.
func CheckRoot(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%q is not an absolute path", path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%q is not a directory", path)
	}
	return nil
}
