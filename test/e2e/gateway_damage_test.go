package e2e_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// Files of both queues are damaged as a loss of power may do it. Agent and gateway start
// all the same, put the file aside, and say so.
func gatewayDamaged(t *testing.T, full string) {
	b := newBackend(t)
	g := newGateway(t, full, b.address)
	// Requests that the agent does not put together are more than one page of the
	// gateway's tree.
	s := sendingTo(t, g.address, "exporters::otlp_grpc::sending_queue::batch::min_size: 1")
	before := newFlow(t.Name() + "/before")
	a := startAgent(t, s)
	to := newSender(t, a)
	const requests, records, size = 20, 2, 20 << 10
	for range requests {
		require.NoError(t, before.send(to, records, size))
	}
	a.kill()
	damage(t, filepath.Join(s.state, "otlp-queue", "exporter_otlp_grpc__logs"))

	b.die()
	a = startAgent(t, s)
	hasRecreated(t, a)
	to = newSender(t, a)
	g.start()
	for range requests {
		require.NoError(t, before.send(to, records, size))
	}
	testkit.Eventually(t, soon, func() error { return g.holds("logs", requests*records*size) })
	g.kill()
	damage(t, filepath.Join(g.settings.state, "gateway-queue", "exporter_otlp_grpc__logs"))

	b.live()
	g.start()
	hasRecreated(t, g.agent)
	after := newFlow(t.Name() + "/after")
	y := newTally(after, b.sink)
	require.NoError(t, after.send(to, records, size))
	testkit.Eventually(t, soon, y.complete)
	require.Empty(t, y.doubled())
}

// hasRecreated requires that the agent has told of a damaged file, and kept it.
func hasRecreated(t *testing.T, a *agent) {
	t.Helper()
	require.Contains(t, a.log(), "Database corruption detected")
	kept, err := filepath.Glob(filepath.Join(a.state, "*-queue", "*.backup"))
	require.NoError(t, err)
	require.Len(t, kept, 1)
}

// damage has each inner page of a bbolt file name its first child twice: a page from
// another time, as when one of two writes has reached the disk. A page begins with its
// number (8 bytes), its kind (2), how many elements it has (2) and how many pages more
// it takes (4); an inner page's elements are of 16 bytes, the last 8 the child's number
// (go.etcd.io/bbolt, internal/common/page.go).
func damage(t *testing.T, file string) {
	t.Helper()
	const header, element, inner = 16, 16, 0x01
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	size, damaged := os.Getpagesize(), 0
	for at := 0; at+size <= len(data); at += size {
		page := data[at : at+size]
		number, kind, count := binary.NativeEndian.Uint64(page), binary.NativeEndian.Uint16(page[8:]), binary.NativeEndian.Uint16(page[10:])
		if number != uint64(at/size) || kind != inner || count < 2 {
			continue
		}
		first, second := page[header+8:header+element], page[header+element+8:header+2*element]
		copy(second, first)
		damaged++
	}
	require.NotZero(t, damaged, "%s has no inner page", file)
	require.NoError(t, os.WriteFile(file, data, 0o600))
}
