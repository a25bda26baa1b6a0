package watch

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// listen takes what is said about containers from the board of the view.
func (w *Watch) listen() (cancel func()) {
	if w.o.View == nil {
		return func() {}
	}
	return w.o.View.Identities().Subscribe(func(id string, i *target.Identity) {
		w.mu.Lock()
		if i == nil {
			delete(w.identities, id)
		} else {
			w.identities[id] = i
		}
		w.mu.Unlock()
		w.wake()
	})
}

// identify fills in what the engine could not tell. An engine that knows a
// container knows its labels: what it leaves out, or its filter, stays out.
func identify(t *target.Target, i *target.Identity, hasEngine bool) {
	t.Name = cmp.Or(t.Name, i.Name, i.Pod.Container)
	if t.Image == "" {
		t.Image, t.ImageTag = i.Image, i.ImageTag
	}
	if !hasEngine {
		t.Labels = i.Labels
		t.Runtime = cmp.Or(i.Runtime, t.Runtime)
	}
	t.PodName, t.PodNamespace, t.PodContainer = i.Pod.Name, i.Pod.Namespace, i.Pod.Container
	t.PodLabels, t.Annotations = i.Pod.Labels, i.Pod.Annotations
}

// needsAddresses tells whether nobody says any address, so that the kernel is asked. It
// is the container itself that gives those to its network, if it may (CAP_NET_ADMIN).
// Where the engine says that there is no network, all that there are were made by the
// container, or by a plugin of whom somebody else tells (CNI, by the kubelet).
func (s *subject) needsAddresses() bool {
	isSaid := len(s.said()) > 0 || s.identity != nil && len(s.identity.Addresses) > 0
	return !isSaid && s.mode() != modeNone && !isTunnelled(s.mode())
}

// believed are the addresses of a network of which nobody says any: none of one that
// the container has made, and those only that lead to containers.
func (l *looker) believed(f *found) []netip.Addr {
	if !l.isOurs(f) {
		return nil
	}
	all, err := leadingIn(l.addresses(f.at))
	l.note(err)
	return all
}

// isOurs tells whether a network namespace is owned by our own user namespace or by
// that of the host's first process. Anybody can make a user namespace, and is root in
// the network namespaces that it owns (user_namespaces(7)). That of a rootless engine, or
// of one that maps users, is not ours either: there the engine says the addresses.
func (l *looker) isOurs(f *found) bool {
	own, err := inodeOf(os.Stat("/proc/thread-self/ns/user"))
	if errors.Is(err, fs.ErrNotExist) {
		return true // the kernel has no user namespaces
	}
	l.note(err)
	owner, asked := ownerOf(l.path(f.at, "ns/net"), f.netns)
	if err != nil || asked != nil {
		return false // EPERM is the answer about an owner that is not below us
	}
	first, err := inodeOf(os.Stat(l.path(1, "ns/user")))
	return owner == own || err == nil && owner == first
}

// ownerOf is the user namespace that owns the network namespace at a path, which has to
// be netns (ioctl_ns(2), Linux 4.9).
func ownerOf(path string, netns uint64) (uint64, error) {
	ns, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("open network namespace: %w", gone(err))
	}
	defer ns.Close()
	inode, err := inodeOf(ns.Stat())
	if err != nil || inode != netns {
		return 0, errors.Join(err, hostfs.ErrGone)
	}
	fd, err := unix.IoctlRetInt(int(ns.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return 0, fmt.Errorf("ask for owner of network namespace: %w", err)
	}
	owner := os.NewFile(uintptr(fd), "user namespace")
	defer owner.Close()
	return inodeOf(owner.Stat())
}

// addresses are those that its identity has, in that order: the first of a pod is the
// one that Kubernetes speaks of. Where it has none, those of its network that are
// believed.
func (s *subject) addresses() []target.Address {
	all := s.found.addresses
	if s.identity != nil && len(s.identity.Addresses) > 0 {
		all = s.identity.Addresses
	}
	var addresses []target.Address
	for _, ip := range all {
		addresses = append(addresses, target.Address{IP: ip})
	}
	return addresses
}

// resource are the attributes that go on what is collected: who it is from, by the
// names that container_tag has for them. What the container is called is container_tag's
// to say, so that it stays in one place, and a name that comes late starts nothing anew.
func resource(t *target.Target, podUID string) map[string]string {
	all := map[string]string{"container.id": t.ID}
	for key, value := range map[string]string{"container.runtime.name": t.Runtime, "k8s.pod.uid": podUID} {
		if value != "" {
			all[key] = value
		}
	}
	return all
}
