package container

import (
	"errors"
	"path"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// node is one known directory.
type node struct {
	cg       Cgroup
	name     string
	parent   *node
	children map[string]*node
	// wd is the watch descriptor, 0 for none (the kernel counts from 1).
	wd int32
	// refused: a watch was wanted and not to be had; counted once.
	refused bool
}

// foundBy is what is going on, and thus who finds a directory.
type foundBy uint8

const (
	foundAtStart foundBy = iota
	foundByEvent
	foundByWalk
)

// tree is what is known of the hierarchy. Except for the counters it belongs
// to one goroutine.
type tree struct {
	opts   DiscoveryOptions
	root   *node
	byWD   map[int32]*node
	notify *inotify // nil: this host gave us none
	found  foundBy
	told   told
	// nlink: the link count tells whether there are children.
	nlink bool
	// listing is a stack of the directories being listed; buf is for getdents.
	listing []listed
	buf     []byte

	watches, watchFailures, reconciled, readFailures atomic.Uint64
}

// listed is one child found in a directory.
type listed struct {
	node  *node
	links uint64
}

func newTree(opts DiscoveryOptions) tree {
	return tree{opts: opts, byWD: map[int32]*node{}, buf: make([]byte, 32<<10)}
}

// open checks the directory and takes an inotify instance if there is one:
// users have 128 by default, so a busy host may have none left.
func (t *tree) open() error {
	if _, err := statAt(unix.AT_FDCWD, t.opts.Dir); err != nil {
		return err
	}
	t.nlink = countsSubdirs(t.opts.Dir)
	if n, err := openInotify(); err == nil {
		t.notify = n
	}
	return nil
}

func (t *tree) close() {
	if t.notify != nil {
		t.notify.close()
	}
	t.watches.Store(0)
}

// walk compares everything known with everything there.
func (t *tree) walk() {
	st, err := statAt(unix.AT_FDCWD, t.opts.Dir)
	if err != nil {
		t.lost(t.root, err)
		return
	}
	if t.root != nil && t.root.cg.Inode != st.Ino {
		t.vanish(t.root)
	}
	if t.root == nil {
		t.root = t.appear(nil, path.Base(t.opts.Prefix), st.Ino)
	}
	t.scan(t.root, uint64(st.Nlink))
}

// lost handles the error of looking at a directory: only a clear "it is not
// there" means that it vanished.
func (t *tree) lost(n *node, err error) {
	if !errors.Is(err, ErrGone) {
		t.readFailures.Add(1)
		return
	}
	if n != nil {
		t.vanish(n)
	}
}

// scan lists a directory and everything below it. The watch comes first, so
// that nothing can fall between listing and watching.
func (t *tree) scan(n *node, links uint64) {
	leaf := t.nlink && links == 2
	if t.wantsWatch(n, links) && t.watch(n) {
		// The link count is from before the watch: list the directory even if
		// it had no children, or one made in between waits for the next walk.
		leaf = false
	}
	if leaf && len(n.children) == 0 {
		return
	}
	start := len(t.listing)
	defer func() { t.listing = t.listing[:start] }()
	ok := t.list(n)
	if ok && !n.refused && t.wantsWatch(n, 0) && t.watch(n) {
		// Only without link counts: watch what turned out to be a parent.
		t.listing = t.listing[:start]
		ok = t.list(n)
	}
	if !ok {
		return
	}
	for i, end := start, len(t.listing); i < end; i++ {
		child := t.listing[i]
		t.scan(child.node, child.links)
	}
}

// wantsWatch: everything that gets children from outside, and of containers
// only those that have some.
func (t *tree) wantsWatch(n *node, links uint64) bool {
	if n.wd != 0 {
		return false
	}
	return !n.cg.Class.leafByNature() || len(n.children) > 0 || t.nlink && links > 2
}

// list compares a directory's children with those known. It returns false if
// the directory could not be read; then nothing has changed.
func (t *tree) list(n *node) bool {
	fd, err := openDir(t.dir(n))
	if err != nil {
		// A directory that went is told by its parent, now or later.
		t.lost(nil, err)
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	start := len(t.listing)
	fresh, err := t.readChildren(fd, n)
	if err != nil {
		t.lost(nil, dirError("list", n.cg.Path, err))
		return false
	}
	t.dropMissing(n, t.listing[start:])
	for _, f := range fresh {
		if old := n.children[f.name]; old != nil {
			if old.cg.Inode == f.inode {
				continue // dropMissing has met it already
			}
			t.vanish(old)
		}
		t.listing = append(t.listing, listed{node: t.appear(n, f.name, f.inode), links: f.links})
	}
	return true
}

// freshDir is a directory that is not known, or not by this inode.
type freshDir struct {
	name         string
	inode, links uint64
}

// readChildren pushes the known children onto t.listing and returns the rest.
func (t *tree) readChildren(fd int, n *node) ([]freshDir, error) {
	var fresh []freshDir
	for {
		size, err := readDirents(fd, t.buf)
		if err != nil || size == 0 {
			return fresh, err
		}
		buf := t.buf[:size]
		for e, rest, ok := parseDirent(buf); ok; e, rest, ok = parseDirent(rest) {
			if !e.dir {
				continue
			}
			if fresh, err = t.readChild(fd, n.children[string(e.name)], e, fresh); err != nil {
				return nil, err
			}
		}
	}
}

// readChild looks at one entry; known is nil for a new name.
func (t *tree) readChild(fd int, known *node, e dirent, fresh []freshDir) ([]freshDir, error) {
	var name string
	if known != nil {
		name = known.name // so that a steady walk allocates no names
	} else {
		name = string(e.name)
	}
	st, err := statAt(fd, name)
	switch {
	case errors.Is(err, ErrGone):
		// Between listing and looking. If it is known, dropMissing comes.
	case err != nil:
		return nil, err
	case known != nil && known.cg.Inode == st.Ino:
		t.listing = append(t.listing, listed{node: known, links: uint64(st.Nlink)})
	default:
		fresh = append(fresh, freshDir{name: name, inode: st.Ino, links: uint64(st.Nlink)})
	}
	return fresh, nil
}

// dropMissing makes the known children vanish that were not listed, after a
// second look: a listing is no snapshot, entries may move while it is read.
func (t *tree) dropMissing(n *node, present []listed) {
	if len(present) == len(n.children) {
		return
	}
	seen := make(map[*node]struct{}, len(present))
	for _, p := range present {
		seen[p.node] = struct{}{}
	}
	for _, child := range n.children {
		if _, ok := seen[child]; !ok {
			t.deleted(n, child.name)
		}
	}
}

// handle applies one event and reports whether it is an overflow.
func (t *tree) handle(e event) (overflow bool) {
	if e.mask&unix.IN_Q_OVERFLOW != 0 {
		return true
	}
	n := t.byWD[e.wd]
	switch {
	case n == nil:
		// Of a directory that is known to be gone.
	case e.mask&unix.IN_IGNORED != 0:
		t.unwatch(n)
	case e.mask&unix.IN_ISDIR == 0 || len(e.name) == 0:
	case e.mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		t.created(n, string(e.name))
	case e.mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0:
		t.deleted(n, string(e.name))
	}
	return false
}

// look finds a directory that somebody else has told of. Below a watch its event
// comes, unless it was made, and removed, before there was the watch.
func (t *tree) look(l look) {
	n, name := t.nearest(l.path)
	if n == nil || name == "" {
		return
	}
	if n.wd == 0 {
		st, err := statAt(unix.AT_FDCWD, t.dir(n))
		if err != nil || st.Ino != n.cg.Inode {
			return // its own end is told by its parent
		}
		t.scan(n, uint64(st.Nlink))
	}
	// The scan may have found a part of the way.
	n, name = t.nearest(l.path)
	if n == nil || name == "" || path.Join(n.cg.Path, name) != l.path || t.told.claim(l.path, l.inode) {
		return
	}
	if _, err := statAt(unix.AT_FDCWD, t.dir(n)+"/"+name); errors.Is(err, ErrGone) {
		// Gone again already: its path still says who it was.
		t.vanish(t.appear(n, name, l.inode))
	}
}

// nearest returns the deepest known directory above a path, and the name in it
// that leads on; "" if the path itself is known.
func (t *tree) nearest(cgroupPath string) (n *node, name string) {
	rest, ok := strings.CutPrefix(cgroupPath, strings.TrimSuffix(t.opts.Prefix, "/")+"/")
	if !ok {
		return nil, ""
	}
	n = t.root
	for name := range strings.SplitSeq(rest, "/") {
		if n == nil || n.children[name] == nil {
			return n, name
		}
		n = n.children[name]
	}
	return n, ""
}

// created handles a new name. What is there now decides, the event may be old.
func (t *tree) created(parent *node, name string) {
	known := parent.children[name]
	st, err := statAt(unix.AT_FDCWD, t.dir(parent)+"/"+name)
	switch {
	case err == nil && known != nil && known.cg.Inode == st.Ino:
		return
	case err == nil && !t.current(parent):
		// The new directory is not this parent's.
	case err == nil:
		if known != nil {
			t.vanish(known)
		}
		t.scan(t.appear(parent, name, st.Ino), uint64(st.Nlink))
	case errors.Is(err, ErrGone):
		if known == nil && !t.isTold(parent, name) {
			// Gone again already. Its path still says who it was; the event
			// of its end follows.
			t.appear(parent, name, 0)
		}
	default:
		t.readFailures.Add(1)
	}
}

// deleted handles the end of a name, which may have been taken again.
func (t *tree) deleted(parent *node, name string) {
	known := parent.children[name]
	if known == nil {
		return
	}
	st, err := statAt(unix.AT_FDCWD, t.dir(parent)+"/"+name)
	switch {
	case err == nil && known.cg.Inode == st.Ino:
		// The end of an earlier one that was never looked at.
	case err == nil && !t.current(parent):
		t.vanish(known)
	case err == nil:
		t.vanish(known)
		t.scan(t.appear(parent, name, st.Ino), uint64(st.Nlink))
	default:
		t.lost(known, err)
	}
}

// current reports whether a known directory is still the one under its path.
// If it is not, the parent and the child were made anew, and the parent's own
// event, which follows, finds them both.
func (t *tree) current(n *node) bool {
	st, err := statAt(unix.AT_FDCWD, t.dir(n))
	return err == nil && st.Ino == n.cg.Inode
}

// appear makes a directory known.
func (t *tree) appear(parent *node, name string, inode uint64) *node {
	p := t.opts.Prefix
	if parent != nil {
		p = strings.TrimSuffix(parent.cg.Path, "/") + "/" + name
		name = p[len(p)-len(name):] // shares the path's memory
	}
	if inode == 0 {
		inode = t.knownInode(p)
	}
	t.told.add(p, inode)
	n := &node{name: name, parent: parent, cg: Cgroup{
		Identity:  ParsePath(p),
		Path:      p,
		Inode:     inode,
		FirstSeen: t.opts.Now(),
		Initial:   t.found == foundAtStart,
	}}
	if parent != nil {
		if parent.children == nil {
			parent.children = map[string]*node{}
		}
		parent.children[name] = n
	}
	if t.found == foundByWalk {
		t.reconciled.Add(1)
	}
	t.opts.Index.Add(n.cg)
	if t.opts.OnAppear != nil {
		t.opts.OnAppear(n.cg)
	}
	return n
}

// isTold tells whether a directory that is gone was found by a look already.
func (t *tree) isTold(parent *node, name string) bool {
	p := strings.TrimSuffix(parent.cg.Path, "/") + "/" + name
	inode := t.knownInode(p)
	return inode != 0 && t.told.has(p, inode)
}

// knownInode is that of a directory that is gone already, if somebody else has
// seen it in time, or 0.
func (t *tree) knownInode(cgroupPath string) uint64 {
	known, ok := t.opts.Index.ByPath(cgroupPath)
	if !ok {
		return 0
	}
	return known.Inode
}

// vanish makes a directory, and before it everything below, unknown.
func (t *tree) vanish(n *node) {
	for _, child := range n.children {
		t.vanish(child)
	}
	if n.wd != 0 {
		wd := n.wd
		t.unwatch(n)
		// kernfs does not drop the watch with the directory on every kernel.
		t.notify.unwatch(wd)
	}
	if n.parent != nil {
		delete(n.parent.children, n.name)
	} else {
		t.root = nil
	}
	n.cg.Gone = t.opts.Now()
	t.opts.Index.Remove(n.cg.Path, n.cg.Inode, n.cg.Gone)
	if t.opts.OnVanish != nil {
		t.opts.OnVanish(n.cg)
	}
}

// watch gives n a watch and reports whether there was one to be had.
func (t *tree) watch(n *node) bool {
	var wd int32
	err := error(unix.ENOSPC)
	if t.notify != nil && len(t.byWD) < t.opts.MaxWatches {
		wd, err = t.notify.watch(t.dir(n))
	}
	switch {
	case err == nil:
		if other := t.byWD[wd]; other != nil {
			other.wd = 0 // renamed: the watch followed the directory
		}
		n.wd, n.refused = wd, false
		t.byWD[wd] = n
		t.watches.Store(uint64(len(t.byWD)))
	case errors.Is(dirError("watch", "", err), ErrGone):
	case !n.refused:
		n.refused = true
		t.watchFailures.Add(1)
	}
	return err == nil
}

// unwatch forgets the watch of n.
func (t *tree) unwatch(n *node) {
	delete(t.byWD, n.wd)
	n.wd = 0
	t.watches.Store(uint64(len(t.byWD)))
}

// dir returns the directory of n in the file system.
func (t *tree) dir(n *node) string {
	if n.parent == nil {
		return t.opts.Dir
	}
	prefix := strings.TrimSuffix(t.opts.Prefix, "/")
	return strings.TrimSuffix(t.opts.Dir, "/") + n.cg.Path[len(prefix):]
}
