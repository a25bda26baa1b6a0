package origin

import (
	"strings"
	"sync"
	"time"
	"weak"
)

// Kind says who told of an origin.
type Kind uint8

// The kinds. The zero value knows nothing.
const (
	KindNone    Kind = iota // unresolved, Reason says why
	KindKernel              // a container, by the kernel's word
	KindHost                // a process of the host in no container, by the kernel's word
	KindClient              // a container by the client's own word
	KindPending             // not known yet, see [Resolver.Settle]
)

// String returns the lower-case name used in telemetry.
func (k Kind) String() string {
	switch k {
	case KindKernel:
		return "kernel"
	case KindHost:
		return "host"
	case KindClient:
		return "client"
	case KindPending:
		return "pending"
	}
	return "none"
}

// Reason says why an origin is unresolved. Its text is used in telemetry.
type Reason string

// The reasons.
const (
	// ReasonNamespace: the sender is outside of our pid namespace (the remedy
	// is pid: host), or our /proc is that of another one.
	ReasonNamespace Reason = "pid_namespace"
	// ReasonGone: the sender ended before anybody could look.
	ReasonGone Reason = "gone"
	// ReasonReused: processes of different containers had the number while the
	// datagram may have been sent.
	ReasonReused Reason = "pid_reused"
	// ReasonLost: as ReasonGone, but the process stream does not reach back, or
	// has lost events.
	ReasonLost Reason = "stream_lost"
	// ReasonPermission: the kernel does not show us the process.
	ReasonPermission Reason = "no_permission"
	// ReasonCgroup: the cgroup leaves open which container it is, or whether.
	ReasonCgroup Reason = "cgroup"
	// ReasonCredentials: the datagram came without a process number.
	ReasonCredentials Reason = "no_credentials"
	// ReasonUnreadable: /proc did not tell, though the process lives.
	ReasonUnreadable Reason = "unreadable"
)

// Origin is who sent a datagram. It does not change; compare by pointer.
type Origin struct {
	Kind Kind
	// Reason is of KindNone.
	Reason Reason
	// ContainerID is the full id as the cgroup names it; of KindClient perhaps
	// what the client wrote, or empty if it gave only a pod.
	ContainerID string
	// PodUID and Runtime are as in [container.Identity], "" if unknown.
	PodUID, Runtime string
	// ContainerName is the name within the pod; only clients tell it.
	ContainerName string
	// Verified, of KindClient: a container with the cgroup inode that the client
	// gave is known here. That the client is in it is its own word all the same.
	Verified bool

	pending *pending // of KindPending
}

// pending is what is needed to ask again.
type pending struct {
	// pid is asked by the process stream, cgroup (if not 0) by the index.
	pid    int32
	cgroup uint64
	// since is the earliest that a datagram may have been sent, on [Clock].
	since time.Duration
	payer *Origin

	mu    sync.Mutex    // guards what follows
	first time.Duration // when it was first extended
	until time.Duration // the latest
	final *Origin       // the answer
}

// extend takes one more datagram, if the answer has not been given yet, and is not
// overdue: who sends on and on must not hold it up.
func (p *pending) extend(until time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first == 0 {
		p.first = p.until
	}
	if p.final != nil || until > p.first+patience {
		return false
	}
	p.until = max(p.until, until)
	return true
}

// Payer is who limits are charged to: the origin itself, and one for all
// pending origins of a resolver together, so that nobody gets a new allowance
// with each process.
func (o *Origin) Payer() *Origin {
	if o.pending != nil {
		return o.pending.payer
	}
	return o
}

// firstSweep is the size at which a pool first looks for what nobody holds.
const firstSweep = 1024

// pool makes one pointer of equal origins, and keeps none alive. It is safe for
// concurrent use.
type pool struct {
	mu      sync.Mutex
	known   map[Origin]weak.Pointer[Origin]
	sweepAt int
}

func newPool() *pool {
	return &pool{known: map[Origin]weak.Pointer[Origin]{}, sweepAt: firstSweep}
}

// intern copies the texts, which may be parts of larger ones.
func (p *pool) intern(o Origin) *Origin {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.known[o].Value(); known != nil {
		return known
	}
	o.ContainerID, o.PodUID = strings.Clone(o.ContainerID), strings.Clone(o.PodUID)
	o.Runtime, o.ContainerName = strings.Clone(o.Runtime), strings.Clone(o.ContainerName)
	if len(p.known) >= p.sweepAt {
		p.sweep()
	}
	made := &o
	p.known[o] = weak.Make(made)
	return made
}

// sweep forgets what nobody holds; the next one comes when as many again have
// been added, which makes the cost of each constant.
func (p *pool) sweep() {
	for key, held := range p.known {
		if held.Value() == nil {
			delete(p.known, key)
		}
	}
	p.sweepAt = max(firstSweep, 2*len(p.known))
}
