package statictags

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// errFolderGone says that what was watched is no longer there under its name.
var errFolderGone = errors.New("the folder was removed or replaced")

// watch loads the file after each change in its folder. It returns when ctx
// ends, or with the reason why the folder cannot be watched any longer.
func (s *Source) watch(ctx context.Context, t *teller) error {
	folder := filepath.Dir(s.options.File)
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", folder, err)
	}
	defer func() { _ = watcher.Close() }()
	if err := watcher.Add(folder); err != nil {
		return fmt.Errorf("watch %s: %w", folder, err)
	}
	// Read only now: what changes from here on is seen.
	t.load(nil)
	quiet := newQuiet(s.options.Debounce)
	defer quiet.timer.Stop()
	recheck := time.NewTicker(s.options.Recheck)
	defer recheck.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event := <-watcher.Events:
			if event.Name == folder && event.Has(fsnotify.Remove|fsnotify.Rename) {
				return fmt.Errorf("watch %s: %w", folder, errFolderGone)
			}
			if s.concerns(event.Name) {
				quiet.disturb()
			}
		case <-watcher.Errors:
			// Events were lost; the file is looked at whatever they were.
			quiet.disturb()
		case <-quiet.timer.C:
			quiet.began = time.Time{}
			t.load(nil)
		case <-recheck.C:
			t.load(nil)
		}
	}
}

// concerns tells whether a change of path may be one of the file. Kubernetes
// changes ..data, the link that the file is a link into.
func (s *Source) concerns(path string) bool {
	name := filepath.Base(path)
	return name == filepath.Base(s.options.File) || strings.HasPrefix(name, "..")
}

// quiet is a timer that fires when a folder has been quiet for a while, or has
// not been for too long.
type quiet struct {
	timer    *time.Timer
	debounce time.Duration
	// began is the first change since it fired, zero if there was none.
	began time.Time
}

func newQuiet(debounce time.Duration) *quiet {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &quiet{timer: timer, debounce: debounce}
}

func (q *quiet) disturb() {
	now := time.Now()
	if q.began.IsZero() {
		q.began = now
	}
	q.timer.Reset(min(q.debounce, q.began.Add(maxDebounces*q.debounce).Sub(now)))
}
