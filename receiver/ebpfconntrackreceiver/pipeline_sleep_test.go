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
		require.Equal(t, p.untilTake() > 0, p.timed > 0)
		return p.joiner.Stats().Waiting, p.timed > 0
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

// While run only waits for the moment to forget something, what comes and waits for its
// other end is not to wait for that: run is told, once.
func TestPipelineIsToldWhenItHasToBeSooner(t *testing.T) {
	p := quietPipeline(t)
	p.came = make(chan struct{}, 1)
	f := func(armed time.Duration, want int) {
		t.Helper()
		p.timed = armed
		now := connstream.Now()
		p.handle([]connstream.Record{{
			Netns: 1, Local: at("10.0.0.1:40000"), Remote: at("10.0.0.2:80"), Direction: connstream.Outgoing, Sent: 16,
			Started: now - 3*time.Millisecond, Established: now - 2*time.Millisecond, Ended: now,
		}})
		require.Len(t, p.came, want)
		require.Equal(t, takeEvery, p.timed)
		p.flush()
		for len(p.came) > 0 {
			<-p.came
		}
	}
	f(0, 1)
	f(forgetEvery, 1)
	f(takeEvery, 0)
}
