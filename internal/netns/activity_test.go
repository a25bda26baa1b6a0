package netns

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseInUse(t *testing.T) {
	const four = "sockets: used 91\nTCP: inuse 7 orphan 0 tw 2 alloc 9 mem 1\nUDP: inuse 3 mem 0\n"
	n, err := parseInUse([]byte(four), "TCP:")
	require.NoError(t, err)
	require.Equal(t, 7, n)
	n, err = parseInUse([]byte("TCP6: inuse 2\nUDP6: inuse 1\n"), "TCP6:")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	for _, broken := range []string{"", "UDP: inuse 3\n", "TCP: orphan 0\n", "TCP: inuse x\n", "TCP:"} {
		_, err := parseInUse([]byte(broken), "TCP:")
		require.ErrorIs(t, err, ErrMalformed, "%q", broken)
	}
}

// Time is that of all containers of a namespace, sockets are those of both IP
// versions; what is not known of one of them is not known at all.
func TestActivity(t *testing.T) {
	r := newRig(t)
	r.process(100, 50, "")
	r.process(101, 60, "100")
	r.container("a", 100)
	r.container("b", 101)
	used := map[string]time.Duration{"/docker/" + id("a"): time.Second, "/docker/" + id("b"): 2 * time.Second}
	all := r.tracker.Refresh()
	require.Equal(t, Activity{}, r.tracker.Activity(all[1]), "nobody tells of processor time")

	r.tracker.o.CPUTime = func(path string) (time.Duration, bool) {
		d, ok := used[path]
		return d, ok
	}
	require.Equal(t, Activity{IsKnown: true, CPU: 3 * time.Second, Sockets: 1}, r.tracker.Activity(all[1]), "without IPv6")
	r.write("proc/100/"+fileSockstat6, "TCP6: inuse 4\n")
	require.Equal(t, Activity{IsKnown: true, CPU: 3 * time.Second, Sockets: 5}, r.tracker.Activity(all[1]))
	require.Equal(t, Activity{}, r.tracker.Activity(all[0]), "the host's")
	require.Empty(t, r.tracker.Stats().ReadErrors)

	delete(used, "/docker/"+id("b"))
	require.Equal(t, Activity{}, r.tracker.Activity(all[1]))
	used["/docker/"+id("b")] = time.Second
	r.write("proc/100/"+fileSockstat6, "TCP6: in use\n")
	require.False(t, r.tracker.Activity(all[1]).IsKnown)
	require.NotZero(t, r.tracker.Stats().ParseErrors[fileSockstat6])
	require.NoError(t, os.Remove(filepath.Join(r.root, "proc/100", fileSockstat)))
	require.False(t, r.tracker.Activity(all[1]).IsKnown)
}
