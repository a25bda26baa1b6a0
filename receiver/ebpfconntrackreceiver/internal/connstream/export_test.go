package connstream

import (
	"errors"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
)

// KernelLost asks the kernel for the records lost so far, also while the
// stream stands still.
func (s *Stream) KernelLost() (uint64, error) {
	counts, err := s.set.Drops(connectionMapDrops)
	if err != nil {
		return 0, err
	}
	return counts[connectionDropDROP_RING], nil
}

// KernelTime is how often the programs ran and how long, while the kernel's
// statistics are on.
func (s *Stream) KernelTime() (runs uint64, spent time.Duration) { return s.set.KernelTime() }

// ResponsesAt is Responses at another time since boot.
func (s *Stream) ResponsesAt(now time.Duration, each func(ResponseKey, *ResponseTimes)) error {
	return s.answers.read(now, each)
}

// OpenRefused is Open on a kernel that has no hooks for these programs.
func OpenRefused(o Options, programs ...string) (*Stream, error) {
	spec, err := specOf(o)
	if err != nil {
		return nil, err
	}
	for _, name := range programs {
		spec.Programs[name].AttachTo = "no_such_trace_point"
	}
	return openSpec(spec, o)
}

// LoadBucket loads the program that tests the mapping of times to buckets.
func LoadBucket() (*ebpf.Program, error) {
	_ = rlimit.RemoveMemlock() // before 5.11; else the maps say so
	spec, err := loadConnection()
	if err != nil {
		return nil, err
	}
	spec.Programs = map[string]*ebpf.ProgramSpec{connectionProgBucket: spec.Programs[connectionProgBucket]}
	spec.Maps[connectionMapRecords].MaxEntries = uint32(os.Getpagesize())
	collection, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, err
	}
	defer collection.Close()
	return collection.DetachProgram(connectionProgBucket), nil
}

// Keep puts in keys with one exchange each.
func (s *Stream) Keep(n int, used time.Duration) error {
	value := connectionHistogram{Start: uint64(used), Used: uint64(used)}
	value.Buckets[10] = 1
	for i := range n {
		key := connectionResponseKey{Cgroup: uint64(i) + 1, Netns: 1}
		if err := s.answers.from.Put(&key, &value); err != nil {
			return err
		}
	}
	return nil
}

// ResponseMemory is what the kernel says that the map takes.
func (s *Stream) ResponseMemory() (uint64, error) {
	info, err := s.answers.from.Info()
	if err != nil {
		return 0, err
	}
	bytes, _ := info.Memlock()
	return bytes, nil
}

// Knows tells whether a listener is remembered, whosever it is.
func (s *Stream) Knows(l Listener) (bool, error) {
	key, value := l.entry()
	err := s.set.Map(connectionMapListeners).Lookup(&key, &value)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	return err == nil, err
}

// WithoutLooks has a stream look by itself only after a wake-up.
func (o Options) WithoutLooks() Options {
	o.idle = time.Hour
	return o
}
