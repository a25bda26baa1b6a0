package ebpfconntrackreceiver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
)

// What waits for its other end is handed out though nothing else comes. When nothing
// waits nobody looks after it: the next connection starts that again.
func TestPipelineSleeps(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	p := quietPipeline(t)
	p.came = make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.run(ctx) })
	defer running.Wait()
	defer cancel()
	state := func() (waiting int, isTimed bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		require.Equal(t, p.untilTake() > 0, p.isTimed)
		return p.joiner.Stats().Waiting, p.isTimed
	}
	for range 2 {
		testkit.Eventually(t, time.Minute, func() error {
			if _, isTimed := state(); isTimed {
				return errors.New("it does not sleep")
			}
			return nil
		})
		now := connstream.Now()
		p.handle([]connstream.Record{{
			Netns: 1, Local: at("10.0.0.1:40000"), Remote: at("10.0.0.2:80"), Direction: connstream.Outgoing, Sent: 16,
			Started: now - 3*time.Millisecond, Established: now - 2*time.Millisecond, Ended: now,
		}})
		n, _ := state()
		require.Equal(t, 1, n)
		testkit.Eventually(t, time.Minute, func() error {
			if n, _ := state(); n != 0 {
				return fmt.Errorf("%d ends wait", n)
			}
			return nil
		})
	}
}
