package programpagesextension

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tallymanhq/tallyman/extension/programpagesextension/internal/metadata"
	"github.com/tallymanhq/tallyman/internal/programpages"
)

// watcher is by which the Collector tells extensions that the pipelines run
// (extensioncapabilities.PipelineWatcher).
type watcher interface {
	Ready() error
	NotReady() error
}

func TestLifecycle(t *testing.T) {
	e, err := NewFactory().Create(t.Context(), extensiontest.NewNopSettings(metadata.Type), createDefaultConfig())
	require.NoError(t, err)
	require.NoError(t, e.Shutdown(t.Context()), "without a start")
	e, err = NewFactory().Create(t.Context(), extensiontest.NewNopSettings(metadata.Type), createDefaultConfig())
	require.NoError(t, err)
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, e.(watcher).Ready())
	require.NoError(t, e.(watcher).NotReady())
	require.NoError(t, e.Shutdown(t.Context()))
	require.NoError(t, e.Shutdown(t.Context()), "twice")
}

// An agent that ends, or reads its configuration anew, does not wait for the release.
func TestShutdownEndsTheWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPages(&Config{After: time.Hour}, zap.NewNop(), func() (programpages.Result, error) {
			t.Error("released")
			return programpages.Result{}, nil
		})
		require.NoError(t, p.Ready())
		after(time.Minute)
		begun := time.Now()
		require.NoError(t, p.Shutdown(t.Context()))
		require.Zero(t, time.Since(begun))
	})
}

// Once, and not before the pipelines have run for the time that is set.
func TestReleasesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		var calls atomic.Int32
		p := newPages(&Config{After: time.Minute}, zap.New(core), func() (programpages.Result, error) {
			calls.Add(1)
			return programpages.Result{Before: 80e6, After: 2e6}, nil
		})
		require.NoError(t, p.Start(t.Context(), componenttest.NewNopHost()))
		after(2 * time.Minute)
		require.Zero(t, calls.Load(), "the pipelines do not run yet")
		require.NoError(t, p.Ready())
		after(time.Minute - time.Millisecond)
		require.Zero(t, calls.Load())
		after(time.Millisecond)
		require.EqualValues(t, 1, calls.Load())
		after(24 * time.Hour)
		require.EqualValues(t, 1, calls.Load())
		require.NoError(t, p.Shutdown(t.Context()))

		require.Equal(t, 1, logs.Len())
		require.Equal(t, zapcore.InfoLevel, logs.All()[0].Level)
		require.Equal(t, map[string]any{"resident.before": int64(80e6), "resident.after": int64(2e6)}, logs.All()[0].ContextMap())
	})
}

func TestTellsThatItDidNot(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	newPages(&Config{}, zap.New(core), nil).tell(programpages.Result{}, errors.New("locked"))
	require.Equal(t, 1, logs.FilterLevelExact(zapcore.WarnLevel).Len())
	require.Equal(t, "locked", logs.All()[0].ContextMap()["error"])
}

// after lets that much of the bubble's time pass, and all that it wakes be done.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
