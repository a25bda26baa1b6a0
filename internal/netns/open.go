package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// Open opens a namespace, for whoever is to enter it or to make a socket in it.
// Close it soon: it keeps the namespace from going away. A namespace whose
// processes have gone gives [hostfs.ErrGone]. The caller is the goroutine that
// calls Refresh; what it gets is for any.
func (t *Tracker) Open(n *Namespace) (*os.File, error) {
	err := hostfs.ErrGone
	for i := range max(1, len(n.members)) {
		dir := t.directory(n, i)
		if dir == nil {
			continue
		}
		f, openErr := openNamespace(dir.Path()+"/"+nsFile, n.Inode)
		if openErr == nil {
			return f, nil
		}
		if !errors.Is(openErr, hostfs.ErrGone) {
			err = openErr // it tells more than that another process has gone
		}
	}
	if n.Host && errors.Is(err, fs.ErrPermission) {
		return t.openOwn(n, err)
	}
	return nil, err
}

// openOwn opens this process' own namespace where it is the host's. Process 1 may
// not be asked by who has fewer capabilities than it, root or not.
func (t *Tracker) openOwn(host *Namespace, reason error) (*os.File, error) {
	f, err := openNamespace(filepath.Join(t.o.Roots.Proc, "self", nsFile), host.Inode)
	if err != nil {
		return nil, reason
	}
	return f, nil
}

// openNamespace opens a path that leads to a namespace, and makes sure that it is
// the one with that number: the process may have gone and another have its number.
func openNamespace(path string, inode uint64) (*os.File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hostfs.ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w (needs CAP_SYS_PTRACE)", err)
	}
	info, err := f.Stat()
	if err == nil && info.Sys().(*syscall.Stat_t).Ino == inode {
		return f, nil
	}
	_ = f.Close()
	return nil, hostfs.ErrGone
}
