package container

// toldMax is as many directories as may wait to be looked at, four times over:
// who asks about one asks soon.
const toldMax = 4 * looksMax

// told remembers the newest directories that were found, also when they are
// gone: by inode, which the kernel does not give to two cgroups, or by path where
// they were gone before anybody knew theirs.
type told struct {
	known map[toldKey]struct{}
	ring  []toldKey
	next  int
}

type toldKey struct {
	inode uint64
	path  string
}

func keyOf(path string, inode uint64) toldKey {
	if inode != 0 {
		path = ""
	}
	return toldKey{inode, path}
}

func (t *told) has(path string, inode uint64) bool {
	_, ok := t.known[keyOf(path, inode)]
	return ok
}

func (t *told) add(path string, inode uint64) {
	key := keyOf(path, inode)
	if _, ok := t.known[key]; ok {
		return
	}
	if t.known == nil {
		t.known = map[toldKey]struct{}{}
	}
	t.known[key] = struct{}{}
	if len(t.ring) < toldMax {
		t.ring = append(t.ring, key)
		return
	}
	delete(t.known, t.ring[t.next])
	t.ring[t.next] = key
	t.next = (t.next + 1) % toldMax
}

// claim tells whether a directory was found whose inode is known by now only.
// One that was found without an inode is claimed once: the next one under its
// path is another.
func (t *told) claim(path string, inode uint64) bool {
	if t.has(path, inode) {
		return true
	}
	unnamed := toldKey{path: path}
	if _, ok := t.known[unnamed]; !ok {
		return false
	}
	delete(t.known, unnamed)
	return true
}
