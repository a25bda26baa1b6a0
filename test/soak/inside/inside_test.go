package inside_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/test/soak/inside"
)

const (
	goroutines = 100
	held       = 64 << 20
)

// This process is told what it has just taken.
func TestRead(t *testing.T) {
	runtime.GC()
	before := inside.Read()
	release := make(chan struct{})
	defer close(release)
	for range goroutines {
		go func() { <-release }()
	}
	memory := make([]byte, held)
	runtime.GC()
	after := inside.Read()
	require.GreaterOrEqual(t, after.Goroutines, before.Goroutines+goroutines)
	require.GreaterOrEqual(t, after.HeapLive, before.HeapLive+held)
	require.GreaterOrEqual(t, after.Total, uint64(held))
	require.GreaterOrEqual(t, after.Total, after.HeapLive)
	require.Greater(t, after.Collections, before.Collections)
	require.Positive(t, after.Stacks)
	runtime.KeepAlive(memory)
}

func TestStartWithoutSocket(t *testing.T) {
	t.Setenv(inside.SocketEnv, "")
	require.NoError(t, inside.Start())
}
