package capture

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

func journalLines(t testing.TB, lines ...line) []byte {
	t.Helper()
	var all []byte
	for _, l := range lines {
		text, err := json.Marshal(l)
		require.NoError(t, err)
		all = append(append(all, text...), '\n')
	}
	return all
}

// FuzzReplay reads a journal that a crash, or a disk, has left behind.
func FuzzReplay(f *testing.F) {
	at := time.Date(2026, 11, 22, 3, 12, 7, 0, time.UTC)
	f.Add(journalLines(f, line{
		Trigger: bundle.Trigger{Kind: "oom", At: at}, Window: bundle.Window{From: at, To: at.Add(time.Minute)}, Due: at, Pictures: []string{"picture-0.json"}, Written: at,
	}))
	f.Add([]byte(`{"pictures":["../../etc/passwd",".","..",""]}` + "\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		var p pending
		whole, _ := p.replay(content)
		require.LessOrEqual(t, whole, len(content))
		if whole > 0 {
			require.Equal(t, byte('\n'), content[whole-1])
		}
		for _, name := range p.pictures {
			require.True(t, filepath.IsLocal(name) && filepath.Base(name) == name && name != ".", "%q", name)
		}
		var again pending
		twice, _ := again.replay(content[:whole])
		require.Equal(t, whole, twice, "what is whole stays whole")
		require.Len(t, again.triggers, len(p.triggers))
	})
}

// A journal with a window that cannot be is none.
func TestJournalWithAnOddWindow(t *testing.T) {
	at := time.Date(2026, 11, 22, 3, 12, 7, 0, time.UTC)
	f := func(w bundle.Window, ok bool) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "one")
		require.NoError(t, os.Mkdir(dir, 0o700))
		content := journalLines(t, line{Trigger: bundle.Trigger{Kind: "oom", At: at}, Window: w, Due: w.To, Written: at})
		require.NoError(t, os.WriteFile(filepath.Join(dir, journalName), content, 0o600))
		_, err := loadPending(dir, at)
		require.Equal(t, ok, err == nil, "%v", err)
	}
	f(bundle.Window{From: at, To: at.Add(time.Minute)}, true)
	f(bundle.Window{From: at, To: at.Add(longest)}, true)
	f(bundle.Window{From: at, To: at.Add(-time.Minute)}, false)
	f(bundle.Window{From: at, To: at.Add(100 * time.Hour)}, false)
}
