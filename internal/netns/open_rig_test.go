package netns

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// Another process may have got the number of the one that was known, in a
// namespace of its own: that is never taken for the one that was asked for.
func TestOpenAfterReuse(t *testing.T) {
	r := newRig(t)
	r.process(100, 50, "")
	r.process(200, 60, "100")
	r.container("a", 100)
	r.container("b", 200)
	require.Equal(t, []string{"ab"}, r.refresh())
	n := r.tracker.Refresh()[1]
	marked := filepath.Join(r.root, "proc/200", nsFile)
	require.NoError(t, os.WriteFile(marked, []byte("the one"), 0o600))

	r.write("another", "another")
	require.NoError(t, os.Rename(filepath.Join(r.root, "another"), filepath.Join(r.root, "proc/100", nsFile)))
	f, err := r.tracker.Open(n)
	require.NoError(t, err)
	text, err := io.ReadAll(f)
	require.NoError(t, err)
	require.Equal(t, "the one", string(text), "it is opened through who is still in it")
	require.NoError(t, f.Close())

	r.kill(200)
	_, err = r.tracker.Open(n)
	require.ErrorIs(t, err, hostfs.ErrGone)
}
