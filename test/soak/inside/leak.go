package inside

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// leakBytes is what is lost with a request. Asked every 2 s, that is 30 MiB a
// minute: what a table that nobody empties can lose under this load.
const leakBytes = 1 << 20

// page is written to once in each page, so that the kernel gives memory for it.
const page = 4096

var errLeak = errors.New("neither memory, goroutines nor descriptors")

// leak loses something of one kind with each call of grow.
type leak struct {
	kind string // "": nothing

	mu    sync.Mutex // guards what follows
	bytes [][]byte
	files []*os.File
	never chan struct{} // what lost goroutines wait for
}

func newLeak(kind string) (*leak, error) {
	switch kind {
	case "", "memory", "goroutines", "descriptors":
		return &leak{kind: kind, never: make(chan struct{})}, nil
	}
	return nil, fmt.Errorf("read %s=%q: %w", LeakEnv, kind, errLeak)
}

func (l *leak) grow() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.kind {
	case "memory":
		lost := make([]byte, leakBytes)
		for i := 0; i < len(lost); i += page {
			lost[i] = 1
		}
		l.bytes = append(l.bytes, lost)
	case "goroutines":
		go func() { <-l.never }()
	case "descriptors":
		file, err := os.Open(os.DevNull)
		if err != nil {
			return fmt.Errorf("leak a descriptor: %w", err)
		}
		l.files = append(l.files, file)
	}
	return nil
}
