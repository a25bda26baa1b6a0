package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/redact"
)

// Snapshot is how a container and its host were at one moment.
type Snapshot struct {
	// Container is its id; "" if the picture is of the host alone.
	Container string    `json:"container,omitempty"`
	At        time.Time `json:"at"`
	// TookMicros is how long the picture took, in microseconds.
	TookMicros int64 `json:"took_us"`
	// CgroupPath is "" if the container's cgroup is not known.
	CgroupPath string `json:"cgroup_path,omitempty"`
	// Cgroup are the files of the cgroup as they were, by name.
	Cgroup    map[string]string `json:"cgroup,omitempty"`
	Processes []Process         `json:"processes,omitempty"`
	Sockets   []Netns           `json:"sockets,omitempty"`
	// Host are files of /proc as they were, by name.
	Host map[string]string `json:"host,omitempty"`
	// Kernel is what the kernel said about OOM kills, "" if nothing.
	Kernel  string    `json:"kernel,omitempty"`
	Missing []Missing `json:"missing,omitempty"`
	// Redacted is how much was taken out, by what it was.
	Redacted map[string]int `json:"redacted,omitempty"`
}

// Missing is what could not be read.
type Missing struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

func (s *Snapshot) miss(what string, err error) {
	s.Missing = append(s.Missing, Missing{What: what, Why: err.Error()})
}

// Options say where to look.
type Options struct {
	Roots hostfs.Roots
	// Cgroups is what [cgroup.Detect] has found; without it there is no picture
	// of containers.
	Cgroups *cgroup.Host
	// Place tells the cgroup path of a container, by its id.
	Place func(container string) (cgroupPath string, ok bool)
	// Keep tells of an id that it is a container's and no secret; may be nil.
	Keep func(id string) bool
	// Within bounds the time of one picture; 0 means 500 ms.
	Within time.Duration
}

// defaultWithin is ten times what a picture ought to take: after that what is
// left is as old as the next sample.
const defaultWithin = 500 * time.Millisecond

// Camera takes pictures. It is safe for concurrent use.
type Camera struct{ o Options }

// NewCamera returns one.
func NewCamera(o Options) *Camera {
	if o.Within <= 0 {
		o.Within = defaultWithin
	}
	return &Camera{o: o}
}

// Request says of what a picture is to be taken.
type Request struct {
	// Container is an id, or "" for the host alone.
	Container string
	// KernelFrom asks for what the kernel has said since then; zero asks for
	// nothing.
	KernelFrom time.Time
}

// errTime says that the time was up.
var errTime = errors.New("no time left")

// errNoCgroup says that nobody knows where the container is.
var errNoCgroup = errors.New("no cgroup of this container is known")

// shot is one picture in the making.
type shot struct {
	o        Options
	ctx      context.Context
	s        *Snapshot
	redactor redact.Redactor
	rights   rights
}

// Take takes one picture. It always returns one.
func (c *Camera) Take(ctx context.Context, r Request) *Snapshot {
	ctx, cancel := context.WithTimeout(ctx, c.o.Within)
	defer cancel()
	start := time.Now()
	p := &shot{o: c.o, ctx: ctx, s: &Snapshot{Container: r.Container, At: start}, redactor: redact.Redactor{Keep: c.o.Keep}}
	if r.Container != "" {
		p.container(r.Container)
	}
	p.host()
	if !r.KernelFrom.IsZero() {
		p.kernel(r.KernelFrom)
	}
	p.rights.tell(p.s)
	p.s.Redacted = p.redactor.Counts()
	p.s.TookMicros = time.Since(start).Microseconds()
	return p.s
}

func (p *shot) container(id string) {
	path, ok := "", false
	if p.o.Place != nil && p.o.Cgroups != nil {
		path, ok = p.o.Place(id)
	}
	if !ok {
		p.s.miss("cgroup", errNoCgroup)
		return
	}
	p.s.CgroupPath = path
	dirs := directories(p.o.Cgroups, path)
	if len(dirs) == 0 {
		p.s.miss("cgroup", hostfs.ErrGone)
		return
	}
	p.cgroup(dirs)
	pids := p.processes(path)
	p.sockets(pids)
}

// late tells whether the time is up, and notes what is missing for it.
func (p *shot) late(what string) bool {
	if p.ctx.Err() == nil {
		return false
	}
	p.s.miss(what, fmt.Errorf("%w after %v", errTime, p.o.Within))
	return true
}
