package keeper

import (
	"errors"
	"io/fs"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// listener is a keeper without anything but listeners, and what they were told.
func listener(t *testing.T) (*Keeper, func() (map[string]any, plog.LogRecord, map[string]any)) {
	t.Helper()
	k := &Keeper{o: Options{Log: slog.New(slog.DiscardHandler)}, listeners: map[int]func(plog.Logs){}}
	var told []plog.Logs
	k.Announce(func(ld plog.Logs) { told = append(told, ld) })
	return k, func() (map[string]any, plog.LogRecord, map[string]any) {
		t.Helper()
		require.NotEmpty(t, told)
		last := told[len(told)-1].ResourceLogs().At(0)
		record := last.ScopeLogs().At(0).LogRecords().At(0)
		return last.Resource().Attributes().AsRaw(), record, record.Attributes().AsRaw()
	}
}

// incident is an end, and an OOM kill of another container that joined it.
func incident() []bundle.Trigger {
	worker := bundle.Container{ID: "9f86d081884c7d659a2f", Name: "worker", Service: "worker", Project: "shop"}
	return []bundle.Trigger{
		{Kind: "exit", Container: bundle.Container{ID: "1b4f0e9851971998e732"}},
		{Kind: "oom", Container: worker},
		{Kind: "degraded", Container: worker},
	}
}

// Whoever waits for OOM kills, or for a container, finds the capture by it, though
// something else opened it.
func TestAnnouncedByTheGravest(t *testing.T) {
	k, told := listener(t)
	m := &bundle.Manifest{Triggers: incident(), Verdict: "OOM kill."}
	k.captured(capture.Capture{ID: "x-exit", Path: "/x", Manifest: m})
	resource, record, attributes := told()
	require.Equal(t, plog.SeverityNumberWarn, record.SeverityNumber())
	require.Equal(t, "OOM kill.", record.Body().Str())
	require.Equal(t, map[string]any{
		"container.id": "9f86d081884c7d659a2f", "container.name": "worker", "service.name": "worker", "docker.compose.project": "shop",
	}, resource)
	require.Equal(t, "oom", attributes["capture.reason"])
	require.Equal(t, []any{"oom", "degraded", "exit"}, attributes["capture.reasons"])
	require.Equal(t, []any{"worker", "1b4f0e985197"}, attributes["capture.containers"])
	require.EqualValues(t, 3, attributes["capture.triggers"])
}

// A manual capture of no container names none.
func TestAnnouncedWithoutAContainer(t *testing.T) {
	k, told := listener(t)
	k.captured(capture.Capture{ID: "x", Manifest: &bundle.Manifest{Triggers: []bundle.Trigger{{Kind: "manual"}}}})
	resource, record, attributes := told()
	require.Equal(t, plog.SeverityNumberInfo, record.SeverityNumber())
	require.Empty(t, resource)
	require.Equal(t, []any{"manual"}, attributes["capture.reasons"])
	require.NotContains(t, attributes, "capture.containers")
}

// What could not be made says what it was about, and whether there is hope.
func TestNotAnnounced(t *testing.T) {
	k, told := listener(t)
	f := func(failure capture.Failure, body string, retry bool) {
		t.Helper()
		failure.ID, failure.Triggers = "x", incident()
		failure.Err = errors.Join(&fs.PathError{Op: "write", Path: "/srv/secret/x.tmcap", Err: syscall.ENOSPC})
		k.notCaptured(failure)
		resource, record, attributes := told()
		require.Equal(t, EventFailed, record.EventName())
		require.Equal(t, body+": write x.tmcap: no space left on device", record.Body().Str())
		require.Equal(t, "worker", resource["container.name"])
		require.Equal(t, "oom", attributes["capture.reason"])
		require.Equal(t, []any{"worker", "1b4f0e985197"}, attributes["capture.containers"])
		require.Equal(t, retry, attributes["capture.retry"])
		require.Equal(t, "write x.tmcap: no space left on device", attributes["error.message"])
	}
	f(capture.Failure{Retry: 2 * time.Minute}, "The capture x could not be made yet, it is tried again in 2m0s", true)
	_, _, attributes := told()
	require.InDelta(t, 120, attributes["capture.retry.delay"], 0)
	f(capture.Failure{AtStart: true}, "The capture x could not be made, it is tried once more when the agent is started the next time", false)
	f(capture.Failure{}, "The capture x could not be made and is not tried again", false)
	f(capture.Failure{Made: true}, "The capture x is there, but there is something left to tidy up", false)
}

// A capture that was open when the last run ended is finished before the Collector has
// started the receiver.
func TestAnnouncedBeforeAnybodyListened(t *testing.T) {
	k := &Keeper{o: Options{Log: slog.New(slog.DiscardHandler)}, listeners: map[int]func(plog.Logs){}}
	for range maxUnheard + 1 {
		k.captured(capture.Capture{ID: "old", Manifest: &bundle.Manifest{}})
	}
	k.captured(capture.Capture{ID: "newest", Manifest: &bundle.Manifest{}})
	var told []string
	listen := func(ld plog.Logs) {
		id, _ := ld.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes().Get("capture.id")
		told = append(told, id.Str())
	}
	stop := k.Announce(listen)
	require.Len(t, told, maxUnheard)
	require.Equal(t, "newest", told[maxUnheard-1])
	stop()
	k.captured(capture.Capture{ID: "at the end", Manifest: &bundle.Manifest{}})
	k.Announce(listen)
	require.Len(t, told, maxUnheard, "told twice, or after its time")
}
