package sampler

import (
	"time"

	"github.com/tallymanhq/tallyman/internal/container"
)

// Settings say what is read and how often.
type Settings struct {
	// Interval is the time between two passes of one consumer.
	Interval time.Duration
	// SlowInterval is the time between two reads of memory.stat, the limits,
	// the file systems and the list of processes.
	SlowInterval time.Duration
	// MaxOpenFiles bounds the kept descriptors.
	MaxOpenFiles int
	// Want says which cgroups are read. It sees the directory of the thing
	// itself (the container's), never one inside it. Nil wants all.
	Want func(container.Cgroup) bool
	// Processes: look at the processes of containers, which is what telling
	// a degraded container from a dead one needs.
	Processes bool
	// Stream: the process stream tells of every process, through Observe; /proc
	// is asked only for what was there before it.
	Stream bool
	// VictimsTold: the stream says who was killed by the OOM killer. Otherwise
	// it is whoever ended by SIGKILL when the kernel's counter rose.
	VictimsTold bool
	// StreamFrom is when it began to: containers older than that must be
	// looked at once.
	StreamFrom time.Time
	// ReplacedWithin is how long a process that was OOM-killed may stay
	// unreplaced before the container counts as degraded; 0 means 3 s.
	ReplacedWithin time.Duration
	// LayerUsage: add up the writable layers of containers.
	LayerUsage bool
}

func (s *Settings) replacedWithin() time.Duration {
	if s.ReplacedWithin > 0 {
		return s.ReplacedWithin
	}
	return replacedWithin
}

const (
	// queueMax bounds what waits for one consumer. 4096 ended containers at
	// about 1 KiB each are 4 MiB, for a consumer that has stopped reading.
	queueMax = 4096
	// announceWithin is how long the start event waits for a first process that
	// is surely one: runc takes 0.1 to 0.2 s from a container's cgroup to its
	// program, crun less.
	announceWithin = 2 * time.Second
	// streamLag is how long the end of a container waits for what the stream
	// still has to tell of it: twice the time that the stream may hold back.
	streamLag = 200 * time.Millisecond
	// processMax bounds the processes remembered of one container (about
	// 100 bytes each); more are not told apart when one of them is killed.
	processMax = 1024
	// satelliteMax bounds the cgroups inside one container whose events are
	// read apart from its own.
	satelliteMax = 64
)
