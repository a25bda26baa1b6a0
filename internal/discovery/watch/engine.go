package watch

import (
	"cmp"
	"strings"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/imageref"
)

// handler keeps what the engine says of its containers.
type handler struct{ watch *Watch }

// Connected implements [docker.Handler].
func (h *handler) Connected(e docker.Engine) {
	h.watch.mu.Lock()
	h.watch.runtime = cmp.Or(e.Runtime, "docker")
	h.watch.mu.Unlock()
	h.engine(nil)
}

// Put implements [docker.Handler].
func (h *handler) Put(c *docker.Container) {
	h.watch.mu.Lock()
	h.watch.engined[c.ID] = c
	h.watch.mu.Unlock()
	h.watch.wake()
}

// Gone implements [docker.Handler].
func (h *handler) Gone(id string) {
	h.watch.mu.Lock()
	delete(h.watch.engined, id)
	h.watch.mu.Unlock()
	h.watch.wake()
}

// Absent implements [docker.Handler]: nobody is asked for.
func (h *handler) Absent(string) {}

// Event implements [docker.Handler]: what has changed is in the Put before it.
func (h *handler) Event(docker.Event) {}

// Synced implements [docker.Handler].
func (h *handler) Synced() { h.watch.wake() }

// Disconnected implements [docker.Handler]. What is known stays: the kernel tells
// of ends.
func (h *handler) Disconnected(err error) { h.engine(err) }

func (h *handler) engine(err error) {
	if h.watch.o.Engine != nil {
		h.watch.o.Engine(err)
	}
}

// isRunning tells whether a container has processes. Those of a paused one will go
// on, maybe in a moment (docker commit), so that it counts.
func isRunning(c *docker.Container) bool {
	return (c.State.Status == "running" || c.State.Status == "paused") && c.State.Pid != 0 && !isPodSandbox(c)
}

// isPodSandbox: POD is what the kubelet calls the container that holds a pod's
// namespaces (pkg/kubelet/dockershim of Kubernetes 1.23).
func isPodSandbox(c *docker.Container) bool {
	return c.Labels["io.kubernetes.container.name"] == "POD"
}

// imageOf is the image as it was written; where that was an id, its first tag.
func imageOf(c *docker.Container) (name, tag string) {
	const shortest = 4 // digits: what looks like a name is one
	isID := len(c.ImageRef) >= shortest && strings.HasPrefix(strings.TrimPrefix(c.ImageID, "sha256:"), strings.TrimPrefix(c.ImageRef, "sha256:"))
	texts := append([]string{c.ImageRef}, c.ImageTags...)
	if isID {
		texts = c.ImageTags
	}
	for _, text := range texts {
		if ref, ok := imageref.Parse(text); ok && ref.Name != "" {
			return ref.Name, ref.Tag
		}
	}
	return "", ""
}

// Of network modes: the host's, one without a way out, and another container's, whose
// id or name follows.
const (
	modeHost = "host"
	modeNone = "none"
	modeJoin = "container:"
)

// joined tells of each container that is in another's network which one that is.
func joined(all map[string]*docker.Container) map[string]*docker.Container {
	found := map[string]*docker.Container{}
	var byName map[string]*docker.Container
	for id, c := range all {
		ref, isJoin := strings.CutPrefix(c.NetworkMode, modeJoin)
		if !isJoin {
			continue
		}
		if byName == nil {
			byName = named(all)
		}
		if other := cmp.Or(all[ref], byName[ref]); other != nil && other != c {
			found[id] = other
		}
	}
	return found
}

// isGuest: the engine says that it is in another container's network.
func (w word) isGuest() bool {
	return w.engine != nil && strings.HasPrefix(w.engine.NetworkMode, modeJoin)
}

// hasOthers tells whether a guest has to share the network of its host with a program:
// nobody knows that host, there are other guests, or it is not just the sandbox of a pod.
func hasOthers(host *docker.Container, guests map[string]int) bool {
	return host == nil || guests[host.ID] > 1 || !isPodSandbox(host)
}

func named(all map[string]*docker.Container) map[string]*docker.Container {
	byName := make(map[string]*docker.Container, len(all))
	for _, c := range all {
		byName[c.Name] = c
	}
	return byName
}

// network is the container that the engine says the network of, nil if nobody is known:
// this one, or the one that it has joined.
func (s *subject) network() *docker.Container {
	switch {
	case s.engine == nil, !strings.HasPrefix(s.engine.NetworkMode, modeJoin):
		return s.engine
	}
	return s.joins
}

// mode is the network's, "" if it is not known.
func (s *subject) mode() string {
	if c := s.network(); c != nil {
		return c.NetworkMode
	}
	return ""
}

// said are the addresses that the engine tells.
func (s *subject) said() []target.Address {
	c := s.network()
	if c == nil || c.NetworkMode == modeHost {
		return nil
	}
	return addressesOf(c)
}

// isVouched tells whether the engine says that the network is of the container's own.
func (s *subject) isVouched() bool {
	return s.engine != nil && s.network() == s.engine && len(s.said()) > 0
}

// isTunnelled: what has such a network has addresses that mean something else outside of
// it, or are the host's (rootless Podman; the engine's "host" where that is not ours).
func isTunnelled(mode string) bool {
	name, _, _ := strings.Cut(mode, ":") // options follow
	return name == "slirp4netns" || name == "pasta" || name == modeHost
}

func addressesOf(c *docker.Container) []target.Address {
	var all []target.Address
	for _, n := range c.Networks {
		for _, ip := range n.Addresses {
			all = append(all, target.Address{Network: n.Name, IP: ip})
		}
	}
	return all
}

// portsOf are those that can be an endpoint: sctp is nothing that a receiver
// speaks.
func portsOf(c *docker.Container) []target.Port {
	var all []target.Port
	for _, p := range c.Ports {
		if p.Protocol == target.TCP || p.Protocol == target.UDP {
			all = append(all, target.Port{Number: p.Number, Protocol: p.Protocol, HostIP: p.HostIP, HostPort: p.HostPort})
		}
	}
	return all
}
