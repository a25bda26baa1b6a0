package capture_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/capture"
)

// What an application sends under the name of an event about a container opens no
// capture, and takes none away.
func TestStrangersTellOfNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		code := map[string]any{"container.exit_code": 1}
		for _, r.scope = range []string{strangerScope, "", kernelScope + "/x"} {
			for _, event := range []string{"container.oom_kill", "container.oom", "container.degraded"} {
				r.tell(event, workerID, nil)
			}
			r.tell("container.stop", workerID, code)
			r.tell("container.die", workerID, code)
			for range 5 {
				r.use(workerID, 0.99)
			}
		}
		require.Empty(t, r.engine.Unfinished())
		require.Equal(t, capture.Stats{}, r.engine.Stats())

		// Nor does it make an end one that was asked for.
		r.scope = strangerScope
		r.tell("container.kill", workerID, nil)
		r.scope = engineScope
		r.tell("container.die", workerID, code)
		require.Len(t, r.engine.Unfinished(), 1)
	})
}

// Records may ask for captures, of another container each time. They open a few only,
// and push nothing off the shelf that is the first of its kind.
func TestRecordsThatAskAllTheTime(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.options.Keep = capture.Keep{Newest: 3}
		r.start()
		r.project = ""
		r.tell("container.oom_kill", workerID, nil)
		r.tell("container.degraded", apiID, nil)
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 2)
		r.scope = strangerScope
		ask := func(n int) {
			r.tell("", fmt.Sprint("forged", n), map[string]any{"tallyman.capture": true})
			r.pass(150 * time.Second) // after the window of the one before
		}
		for n := range 10 {
			ask(n)
		}
		require.Len(t, r.done, 6, "four in half an hour")
		require.Equal(t, uint64(6), r.engine.Stats().Quiet)
		for _, made := range r.done[2:] {
			require.Equal(t, []string{"manual"}, kinds(made.Manifest))
			require.False(t, made.Manifest.First)
		}
		require.Equal(t, []string{r.done[5].ID, r.done[1].ID, r.done[0].ID}, ids(t, r.engine.Shelf()))

		// What opens no capture is noted in one that is open.
		r.scope = kernelScope
		r.tell("container.oom_kill", dbID, nil)
		r.scope = strangerScope
		ask(10)
		require.Len(t, r.done, 7)
		require.Equal(t, []string{"oom", "manual"}, kinds(r.done[6].Manifest))
		require.True(t, r.done[6].Manifest.First)

		// Who asks by the API is not bounded by that, nor is a record later.
		_, err := r.engine.Manual(t.Context(), capture.Request{})
		require.NoError(t, err)
		r.pass(10 * time.Minute)
		require.Len(t, r.done, 8)
		ask(11)
		require.Len(t, r.done, 9)
	})
}
