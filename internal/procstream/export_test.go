package procstream

import "time"

// KernelDrops asks the kernel for the records lost so far, also while the
// stream stands still.
func (s *Stream) KernelDrops() map[string]uint64 {
	counts, err := s.set.Drops(processMapDrops)
	if err != nil {
		return nil
	}
	drops := map[string]uint64{}
	for i, name := range dropNames {
		drops[name] = counts[i]
	}
	return drops
}

// KernelTime is how often the programs ran and how long, while the kernel's
// statistics are on.
func (s *Stream) KernelTime() (runs uint64, spent time.Duration) { return s.set.KernelTime() }

// WithoutLooks has a stream look by itself only after a wake-up, and for so short a
// time that other processes of the host do not keep it awake.
func (o StreamOptions) WithoutLooks() StreamOptions {
	o.drain, o.idle = 10*time.Millisecond, time.Hour
	return o
}
