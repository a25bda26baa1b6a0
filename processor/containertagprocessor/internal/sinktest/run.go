package sinktest

import (
	"context"
	"testing"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// Run lets the source tell sink until stop is called, which waits for its end,
// or else until the test ends.
func Run(t testing.TB, source entity.Source, sink entity.Sink) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		source.Run(ctx, sink)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}
