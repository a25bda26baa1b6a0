package target

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

// The names of transport protocols in [Port] and [Listener].
const (
	TCP = "tcp"
	UDP = "udp"
)

// Target is one container. A field that nobody could tell is empty.
type Target struct {
	// ID is the container's id; Name has no leading slash.
	ID, Name string
	// Image is the reference without tag and digest ("library/nginx"), ImageTag
	// what was behind the colon.
	Image, ImageTag string
	// Labels are the container's, PodLabels and Annotations those of the pod.
	Labels, PodLabels, Annotations map[string]string
	// PodName and PodNamespace are the pod's, PodContainer is what the container is
	// called within it. All are empty outside Kubernetes, and where nobody knows.
	PodName, PodNamespace, PodContainer string
	// Runtime is docker, podman, containerd, ...
	Runtime string
	// State is the engine's word: running, exited, ...; "running" too if only
	// its processes were seen.
	State string
	// PID is the number of its first process on the host, 0 if it has none.
	PID int
	// Hostname is the one it sees itself.
	Hostname string
	// Addresses are its own, the preferred one first. None with HostNetwork. A
	// socket that is bound to an address counts only if it is one of these.
	Addresses []Address
	// HostNetwork: it lives in the host's network namespace.
	HostNetwork bool
	// SharedNetwork: another container is in its network, which it has joined or was
	// joined in. Of what is announced nobody knows whose it is there. False with
	// HostNetwork.
	SharedNetwork bool
	// Ports are exposed or published, as the engine says.
	Ports []Port
	// Listening are the open server sockets that are its own. In the host's
	// network namespace, and in one that is shared, only those whose process belongs
	// to the container count.
	Listening []Listener
	// Executables are the base names of its processes' programs, PID 1 first,
	// each once. A program whose file could not be read is not among them.
	Executables []string
	// Technologies are what it was recognised as, the surest first.
	Technologies []Technology
	// Resource are the attributes that go on all that is collected from it: who it is
	// (container.id and the like), not what it is called.
	Resource map[string]string
}

// Address is a container's place in one network.
type Address struct {
	// Network is the engine's name for it, "" if unknown.
	Network string
	IP      netip.Addr
}

// Port is one that the engine was told of.
type Port struct {
	Number uint16
	// Protocol is [TCP] or [UDP].
	Protocol string
	// HostIP and HostPort are where it is published; HostPort 0: it is not.
	HostIP   netip.Addr
	HostPort uint16
}

// Listener is a server socket.
type Listener struct {
	// Addr is what it is bound to, which may be the unspecified address.
	Addr netip.AddrPort
	// V6Only: bound to "::", it does not take IPv4. False also where the kernel did not
	// tell, as its files do not.
	V6Only bool
	// Protocol is [TCP] or [UDP].
	Protocol string
	// PID is the owner's number on the host, Executable the base name of its
	// program; 0 and "" if the owner is unknown.
	PID        int
	Executable string
}

// Equal tells whether nothing is different. Order counts where the fields say so
// and after [Target.Normalise] nowhere else. An empty map equals none.
func (t *Target) Equal(o *Target) bool {
	if t == o {
		return true // most are, from one look to the next
	}
	return t.sameScalars(o) &&
		maps.Equal(t.Labels, o.Labels) &&
		maps.Equal(t.PodLabels, o.PodLabels) &&
		maps.Equal(t.Annotations, o.Annotations) &&
		maps.Equal(t.Resource, o.Resource) &&
		slices.Equal(t.Addresses, o.Addresses) &&
		slices.Equal(t.Ports, o.Ports) &&
		slices.Equal(t.Listening, o.Listening) &&
		slices.Equal(t.Executables, o.Executables) &&
		slices.Equal(t.Technologies, o.Technologies)
}

func (t *Target) sameScalars(o *Target) bool {
	return t.ID == o.ID && t.Name == o.Name &&
		t.Image == o.Image && t.ImageTag == o.ImageTag &&
		t.Runtime == o.Runtime && t.State == o.State && t.PID == o.PID &&
		t.PodName == o.PodName && t.PodNamespace == o.PodNamespace && t.PodContainer == o.PodContainer &&
		t.Hostname == o.Hostname && t.HostNetwork == o.HostNetwork && t.SharedNetwork == o.SharedNetwork
}

// Normalise brings ports and listeners into one order and takes out doubles, so
// that two looks at the same container are equal. Only the owner of a Target
// that was not handed on yet may call it.
func (t *Target) Normalise() {
	slices.SortFunc(t.Ports, comparePorts)
	t.Ports = slices.Compact(t.Ports)
	slices.SortFunc(t.Listening, compareListeners)
	t.Listening = slices.Compact(t.Listening)
}

func comparePorts(a, b Port) int {
	return cmp.Or(
		cmp.Compare(a.Number, b.Number),
		cmp.Compare(a.Protocol, b.Protocol),
		cmp.Compare(a.HostPort, b.HostPort),
		a.HostIP.Compare(b.HostIP),
	)
}

func compareListeners(a, b Listener) int {
	return cmp.Or(
		cmp.Compare(a.Addr.Port(), b.Addr.Port()),
		cmp.Compare(a.Protocol, b.Protocol),
		a.Addr.Addr().Compare(b.Addr.Addr()),
		number(a.V6Only)-number(b.V6Only),
		cmp.Compare(a.PID, b.PID),
		cmp.Compare(a.Executable, b.Executable),
	)
}

func number(is bool) int {
	if is {
		return 1
	}
	return 0
}
