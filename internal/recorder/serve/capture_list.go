package serve

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// settled is how old the last change of a folder must be for the next one to have
// another time: file systems count in steps of up to 2 s (FAT).
const settled = 2 * time.Second

// captureList is the list as it was last, and what it was made of. A new one is made
// when that has changed. Reading the folder opens every file in it.
type captureList struct {
	list    []api.Capture
	version uint64

	// read: items are as the folder was when it was stamped.
	read  bool
	items []capture.Item
	// dir is where they are, empty while there was none.
	dir     string
	stamp   folderStamp
	settled bool
	open    []capture.Unfinished
}

// folderStamp changes when files come or go. Names tell of all but those that are
// copied into the folder: these are broken until they are whole.
type folderStamp struct {
	folder time.Time
	broken string
	// newest is the latest of all times.
	newest time.Time
}

// refresh returns the list of now, and its version.
func (l *captureList) refresh(c *captures) ([]api.Capture, uint64) {
	// First what is open: what is finished in between is in both, not in none.
	open := c.engine.Unfinished()
	readAgain := !l.isCurrent()
	if !readAgain && slices.EqualFunc(open, l.open, sameUnfinished) {
		return slices.Clone(l.list), l.version
	}
	if readAgain {
		l.readShelf(c)
	}
	l.open = open
	list := joined(l.items, open)
	if !reflect.DeepEqual(list, l.list) {
		l.list = list
		l.version++
	}
	return slices.Clone(l.list), l.version
}

// isCurrent tells whether nothing has changed in the folder since it was read. While
// nobody knows where it is, because it was empty, it is read each time.
func (l *captureList) isCurrent() bool {
	return l.read && l.settled && l.stamped() == l.stamp
}

func (l *captureList) stamped() folderStamp {
	info, err := os.Stat(l.dir)
	if err != nil {
		return folderStamp{} // gone, or never there
	}
	s := folderStamp{folder: info.ModTime(), newest: info.ModTime()}
	for _, item := range l.items {
		if item.Err == nil {
			continue
		}
		if info, err := os.Lstat(item.Path); err == nil {
			s.broken += info.ModTime().String() + "\n"
			if info.ModTime().After(s.newest) {
				s.newest = info.ModTime()
			}
		}
	}
	return s
}

// readShelf reads the folder. Where that goes wrong the items stay.
func (l *captureList) readShelf(c *captures) {
	before := l.stamped()
	items, err := c.shelf.List()
	if err != nil {
		l.read = false
		return
	}
	l.items, l.read = items, true
	if len(items) > 0 {
		l.dir = filepath.Dir(items[0].Path)
	}
	l.stamp = l.stamped()
	l.settled = l.dir != "" && l.stamp.folder.Equal(before.folder) && c.now().Sub(l.stamp.newest).Abs() > settled
}

// joined is what is on the shelf and what is open, the newest first.
func joined(items []capture.Item, open []capture.Unfinished) []api.Capture {
	var list []api.Capture
	known := map[string]bool{}
	for i := range items {
		list = append(list, finished(&items[i]))
		known[items[i].ID] = true
	}
	for i := range open {
		if !known[open[i].ID] {
			list = append(list, unfinished(&open[i]))
		}
	}
	slices.SortStableFunc(list, func(a, b api.Capture) int {
		if order := b.Created.Compare(a.Created.Time); order != 0 {
			return order
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}

// finished is a capture on the shelf.
func finished(item *capture.Item) api.Capture {
	if item.Manifest == nil {
		return api.Capture{ID: item.ID, State: api.CaptureFailed, Bytes: item.Size, Pinned: item.Pinned, Error: capture.Text(item.Err)}
	}
	out := described(item.Manifest)
	out.ID, out.Bytes, out.Pinned = item.ID, item.Size, item.Pinned // a file may have been renamed
	return out
}

// described is what a manifest says of its capture.
func described(m *bundle.Manifest) api.Capture {
	out := api.Capture{
		ID: m.ID, State: api.CaptureReady, Verdict: m.Verdict, Created: api.At(m.Created),
		From: api.At(m.Window.From), To: api.At(m.Window.To), Containers: m.Scope.Containers,
	}
	triggered(&out, m.Triggers)
	return out
}

func unfinished(u *capture.Unfinished) api.Capture {
	out := api.Capture{
		ID: u.ID, State: string(u.Phase), Verdict: u.Verdict, From: api.At(u.Window.From), To: api.At(u.Window.To),
	}
	if u.Err != nil {
		out.Error = capture.Text(u.Err)
	}
	for _, t := range u.Triggers {
		if t.Container.ID != "" && !slices.Contains(out.Containers, t.Container.ID) {
			out.Containers = append(out.Containers, t.Container.ID)
		}
	}
	triggered(&out, u.Triggers)
	return out
}

// triggered adds the triggers. The gravest is the reason. The time of the first is when
// the capture was made, so that it keeps its place in the list when it is cut.
func triggered(out *api.Capture, triggers []bundle.Trigger) {
	for _, t := range triggers {
		out.Triggers = append(out.Triggers, api.Trigger{
			T: api.At(t.At), Kind: t.Kind, Container: t.Container.ID, Name: t.Container.Label(), Text: t.Reason,
		})
	}
	if len(triggers) > 0 {
		out.Reason, out.Created = bundle.Gravest(triggers).Kind, api.At(triggers[0].At)
	}
}

func sameUnfinished(a, b capture.Unfinished) bool {
	return a.ID == b.ID && a.Phase == b.Phase && a.Window == b.Window && len(a.Triggers) == len(b.Triggers) &&
		a.Verdict == b.Verdict && (a.Err == nil) == (b.Err == nil)
}
