package bundle

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGravest(t *testing.T) {
	f := func(want string, kinds ...string) {
		t.Helper()
		var triggers []Trigger
		for _, kind := range kinds {
			triggers = append(triggers, Trigger{Kind: kind})
		}
		require.Equal(t, want, Gravest(triggers).Kind)
	}
	f("")
	f("manual", "manual")
	f("near_limit", "manual", "near_limit")
	f("exit", "near_limit", "exit", "manual")
	f("degraded", "exit", "degraded")
	f("oom", "degraded", "oom", "exit")
	f("manual", "of the next version", "manual")
	first := time.Date(2026, 11, 22, 3, 12, 7, 0, time.UTC)
	require.Equal(t, first, Gravest([]Trigger{{Kind: "exit"}, {Kind: "oom", At: first}, {Kind: "oom"}}).At, "the first among equals")
}

// Lines of JSON are masked as JSON is: by the names of their keys.
func TestRedactLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tmcap")
	w, err := Create(path, time.Unix(0, 0))
	require.NoError(t, err)
	require.NoError(t, w.Add(EntityLines, []byte(`{"format":1,"seq":9007199254740993}`+"\n"+`{"entity":{"tags":{"db.password":"hunter2","team":"blue"}}}`+"\n")))
	_, err = w.Finish(&Manifest{ID: "x"})
	require.NoError(t, err)
	_, err = Redact(RedactOptions{From: path, To: path})
	require.NoError(t, err)
	r, err := Open(path)
	require.NoError(t, err)
	text, err := r.ReadFile(EntityLines)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, `{"format":1,"seq":9007199254740993}`+"\n"+`{"entity":{"tags":{"db.password":"***","team":"blue"}}}`+"\n", string(text))
}
