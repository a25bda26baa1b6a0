package policy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// Kind is what a client is.
type Kind uint8

// The kinds. The zero value is KindUnknown: nothing could be proven.
const (
	KindUnknown   Kind = iota
	KindHost           // a process in no container
	KindContainer      // a process in a container
	KindAgent          // this very process
)

// String returns the word for logs.
func (k Kind) String() string {
	switch k {
	case KindHost:
		return "host"
	case KindContainer:
		return "container"
	case KindAgent:
		return "agent"
	}
	return "unknown"
}

// Why an identity is unknown, as [Identity.Reason] says it.
const (
	// ReasonNamespace: the peer is outside of our pid namespace, or we look at
	// the /proc of another one.
	ReasonNamespace = "pid_namespace"
	// ReasonGone: the peer had ended, or was about to.
	ReasonGone = "gone"
	// ReasonUnreadable: /proc or the socket did not tell.
	ReasonUnreadable = "unreadable"
	// ReasonCgroup: the cgroup leaves open whether, or in which container.
	ReasonCgroup = "cgroup"
)

// Identity is who a connection belongs to: a plain value, fixed at connect. A
// descriptor that is passed on keeps it.
type Identity struct {
	Kind Kind
	// ContainerID is the full id as the cgroup names it, for KindContainer.
	ContainerID string
	// PID is as our pid namespace numbers it; 0 is unseen. UID and GID are
	// those at connect.
	PID      int
	UID, GID uint32
	// Command is the name of the process, "" if nothing was read of it. The
	// process chooses it: for the audit, not for decisions.
	Command string
	// Reason says why the kind is unknown, as one of the Reason constants.
	Reason string
}

// Key is what quotas go by: all processes of a container together, all
// processes of the host with one uid, and all the unknown: root in a container
// has every uid, and would have a new bucket for each.
func (id Identity) Key() string {
	switch id.Kind {
	case KindContainer:
		return "container/" + id.ContainerID
	case KindHost:
		return "host/" + strconv.FormatUint(uint64(id.UID), 10)
	}
	return id.Kind.String()
}

// Identifier finds out who is at the other end of a Unix connection. It is
// safe for concurrent use.
type Identifier struct {
	roots hostfs.Roots
	pid   int
	self  place
	// foreignProc: the /proc here is not that of our pid namespace, so the
	// kernel's numbers would mean other processes there.
	foreignProc bool
	// innerCgroups: our cgroup namespace is not the host's, so that "/" may be
	// the inside of a container.
	innerCgroups bool
	// withoutPidfd does as kernels before 6.5 do, for tests.
	withoutPidfd bool
}

// hostCgroupNamespace is the number of the first cgroup namespace, fixed in
// the kernel as PROC_CGROUP_INIT_INO (include/linux/proc_ns.h).
const hostCgroupNamespace = "cgroup:[4026531835]"

// NewIdentifier looks at the namespaces of this process. It does not fail:
// what cannot be proven here makes identities unknown, and [Identifier.Check]
// says what that is.
func NewIdentifier() *Identifier {
	// Not a configurable root: the pid of SO_PEERCRED is one of our own pid
	// namespace, whatever the host's /proc is mounted as.
	i := &Identifier{roots: hostfs.NewRoots("/"), pid: os.Getpid()}
	self, err := os.Readlink(filepath.Join(i.roots.Proc, "self"))
	i.foreignProc = err != nil || self != strconv.Itoa(i.pid)
	namespace, err := os.Readlink(filepath.Join(i.roots.Proc, "self/ns/cgroup"))
	i.innerCgroups = err == nil && namespace != hostCgroupNamespace
	if content, err := hostfs.ReadFile(filepath.Join(i.roots.Proc, "self/cgroup"), nil); err == nil {
		i.self, _ = parsePlace(content)
	}
	return i
}

// Check returns what keeps this process from identifying all its clients, with
// the remedy, or nil. The rest is identified all the same.
func (i *Identifier) Check() error {
	var errs []error
	if i.foreignProc {
		errs = append(errs, fmt.Errorf("identify clients: %s is not the procfs of this pid namespace (mount a new one)", i.roots.Proc))
	}
	if i.innerCgroups {
		errs = append(errs, errors.New("identify clients that are processes of the host: this process has a cgroup namespace of its own (run its container with cgroup: host)"))
	}
	return errors.Join(errs...)
}

// Identify takes a [Peer] of the connection, identifies it and closes it: all
// that a caller right after accept needs.
func (i *Identifier) Identify(conn *net.UnixConn) Identity {
	p, err := i.Peer(conn)
	if err != nil {
		return Identity{Reason: ReasonUnreadable}
	}
	id := i.IdentifyPeer(p)
	_ = p.Close() // nothing was written through it
	return id
}

// IdentifyPeer reads what /proc says of the peer's number, and then makes sure
// that all of it was about the process that connected.
func (i *Identifier) IdentifyPeer(p *Peer) Identity {
	id := Identity{PID: p.PID, UID: p.UID, GID: p.GID}
	unknown := func(reason string) Identity {
		return Identity{PID: p.PID, UID: p.UID, GID: p.GID, Reason: reason}
	}
	if p.PID == 0 || i.foreignProc {
		return unknown(ReasonNamespace)
	}
	reason := i.look(&id)
	stat, err := i.stat(p.PID)
	// A process in the middle of exit still counts as living for its
	// descriptor, but cgroup v1 already shows it in the root: that would make
	// a container's process one of the host (kernel/cgroup/cgroup.c,
	// proc_cgroup_show). Its first thread alone is enough for that.
	if errors.Is(err, hostfs.ErrGone) || err == nil && stat.Ended || !p.lives(stat.Start) {
		return unknown(ReasonGone)
	}
	if err != nil {
		return unknown(ReasonUnreadable)
	}
	if reason != "" {
		id = unknown(reason)
	}
	id.Command = stat.Comm
	return id
}

// look sets the kind and the container by what the number means at this
// moment. It returns why it cannot, or "".
func (i *Identifier) look(id *Identity) (reason string) {
	if id.PID == i.pid {
		id.Kind = KindAgent
		return ""
	}
	content, err := hostfs.ReadFile(i.file(id.PID, "cgroup"), nil)
	if err != nil {
		return ReasonUnreadable
	}
	at, ok := parsePlace(content)
	if !ok {
		return ReasonCgroup
	}
	containerID, ok := at.within(i.self)
	switch {
	case !ok:
		return ReasonCgroup
	case containerID != "":
		id.Kind, id.ContainerID = KindContainer, containerID
		return ""
	case !at.host || i.innerCgroups:
		return ReasonCgroup
	}
	return i.lookAtHost(id)
}

// lookAtHost is for a process in no container as far as its cgroup tells. One
// in a pid namespace of its own is in some container all the same, of a
// runtime whose cgroups say nothing.
func (i *Identifier) lookAtHost(id *Identity) (reason string) {
	content, err := hostfs.ReadFile(i.file(id.PID, "status"), nil)
	if err != nil {
		return ReasonUnreadable
	}
	nested, ok := parseNested(content)
	switch {
	case !ok:
		return ReasonUnreadable
	case nested:
		return ReasonCgroup
	}
	id.Kind = KindHost
	return ""
}

func (i *Identifier) file(pid int, name string) string {
	return i.roots.Proc + "/" + strconv.Itoa(pid) + "/" + name
}

func (i *Identifier) stat(pid int) (procstream.Stat, error) {
	// A reader is cheap to make and not for concurrent use.
	return procstream.NewReader(i.roots).Stat(pid)
}
