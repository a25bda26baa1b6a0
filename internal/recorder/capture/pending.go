package capture

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
)

// pending is a capture that is open.
type pending struct {
	id       string
	dir      string
	window   bundle.Window
	due      time.Time
	triggers []bundle.Trigger
	// ignored are triggers that did not fit.
	ignored int
	host    bool
	more    []string
	// around are containers that nobody has named.
	around   []string
	pictures []string // file names in dir
	gaps     []bundle.Gap

	// attempts are cuts that went wrong.
	attempts int
	// newest has, by kind and container, when the newest picture in it was taken.
	newest  map[quietKey]time.Time
	release []func()
}

// openCaptures are those whose windows are not over.
type openCaptures []*pending

// during returns one that the trigger falls into, or nil; a related one only, if that
// is asked for.
func (o openCaptures) during(t bundle.Trigger, related bool) *pending {
	for _, p := range o {
		if !p.asked() && !t.At.Before(p.window.From) && !t.At.After(p.window.To) && (!related || p.isAbout(t.Container)) {
			return p
		}
	}
	return nil
}

// isAbout tells whether a capture is about that container, or about others of its
// project.
func (p *pending) isAbout(c bundle.Container) bool {
	return slices.ContainsFunc(p.triggers, func(t bundle.Trigger) bool {
		return t.Container.ID == c.ID || c.Project != "" && t.Container.Project == c.Project
	})
}

// asked tells of a capture whose window somebody has chosen: that of others ends
// after what has happened.
func (p *pending) asked() bool { return len(p.triggers) > 0 && !p.triggers[0].At.Before(p.window.To) }

// mayBeFirst tells of a capture that may stay longer than others for being the first of
// its kind. What a record asks for may not: there could be a new container in each.
func (p *pending) mayBeFirst() bool {
	return p.asked() || Kind(bundle.Gravest(p.triggers).Kind) != Manual
}

// isPast tells of a window that was over when somebody asked for it.
func (p *pending) isPast() bool {
	r := request{trigger: p.triggers[0], window: p.window}
	return p.asked() && r.isPast()
}

// begin opens a capture. With an error there is none, but it has an id.
func (e *Engine) begin(r request) (*pending, error) {
	p := &pending{
		window: r.window, host: r.host, more: r.more, around: slices.Clone(r.around), due: e.o.Now(),
		triggers: []bundle.Trigger{r.trigger},
	}
	if r.window.To.IsZero() {
		p.window = bundle.Window{From: r.trigger.At.Add(-before), To: r.trigger.At.Add(after)}
		p.due = p.window.To
	}
	p.id = e.newID(r.trigger)
	p.dir = filepath.Join(openDir(e.o.Dir), p.id)
	e.hold(p)
	err := os.Mkdir(p.dir, 0o700)
	if err == nil {
		err = p.note(r, e.o.Now())
	}
	if err != nil {
		p.free()
		// Nothing is to lie there until the next start.
		return p, fmt.Errorf("open capture %s: %w", p.id, errors.Join(err, os.RemoveAll(p.dir)))
	}
	e.open = append(e.open, p)
	e.openCount.Add(1)
	e.board.show(p, Recording, nil)
	return p, nil
}

// join adds a trigger to an open capture. Where it is what the capture is about, the
// window becomes longer, up to the longest one: else a container that fails all the
// time would hold up the news of all others. A trigger that is there already, told by
// another event, is one.
func (e *Engine) join(p *pending, r request) error {
	related := p.isAbout(r.trigger.Container)
	switch i := again(p.triggers, r.trigger); {
	case i >= 0:
		r.trigger, r.into = merged(p.triggers[i], r.trigger), i+1
		p.triggers[i] = r.trigger
	case len(p.triggers) >= maxTriggers:
		p.ignored++
		return nil
	default:
		p.triggers = append(p.triggers, r.trigger)
	}
	p.addAround(r.around)
	end := r.trigger.At.Add(after)
	if last := p.window.From.Add(longest); end.After(last) {
		end = last
	}
	if related && end.After(p.window.To) {
		p.window.To, p.due = end, end
		e.hold(p)
	}
	e.board.show(p, Recording, nil)
	if err := p.note(r, e.o.Now()); err != nil {
		return fmt.Errorf("join capture: %w", err)
	}
	return nil
}

// addAround adds containers that nobody has named, as long as there is room.
func (p *pending) addAround(ids []string) {
	for _, id := range ids {
		if len(p.around) < maxScope && !slices.Contains(p.around, id) {
			p.around = append(p.around, id)
		}
	}
}

// learn fills in what has become known of the containers since the triggers came.
func (p *pending) learn(known func(bundle.Container) bundle.Container) {
	for i := range p.triggers {
		p.triggers[i].Container = known(p.triggers[i].Container)
	}
}

// hold pins the window in the stores. The new pin is there before the old one
// goes.
func (e *Engine) hold(p *pending) {
	old := p.release
	p.release = nil
	for _, store := range []Store{e.o.Metrics, e.o.Events} {
		if store != nil {
			p.release = append(p.release, store.Pin(p.window.From, p.window.To))
		}
	}
	for _, release := range old {
		release()
	}
}

func (p *pending) free() {
	for _, release := range p.release {
		release()
	}
	p.release = nil
}

// newID is the time, the kind and the container: 20261122T031207.123Z-oom-worker.
func (e *Engine) newID(t bundle.Trigger) string {
	id := t.At.UTC().Format("20060102T150405.000Z") + "-" + t.Kind
	if label := plain(t.Container.Label()); label != "" {
		id += "-" + label
	}
	unique := id
	for n := 2; e.taken(unique); n++ {
		unique = fmt.Sprintf("%s-%d", id, n)
	}
	return unique
}

// plain leaves what a file name can have on every system.
func plain(name string) string {
	const longestName = 60
	name = strings.Map(func(c rune) rune {
		if '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '_' {
			return c
		}
		return '-'
	}, name)
	return name[:min(len(name), longestName)]
}

func (e *Engine) taken(id string) bool {
	_, open := os.Lstat(filepath.Join(openDir(e.o.Dir), id))
	_, made := os.Lstat(e.shelf.path(id))
	return open == nil || made == nil
}

// readPicture reads back what note has written.
func (p *pending) readPicture(name string) (*state.Snapshot, error) {
	content, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		return nil, fmt.Errorf("read picture: %w", err)
	}
	var s state.Snapshot
	if err := json.Unmarshal(content, &s); err != nil {
		return nil, fmt.Errorf("read picture %s: %w", name, err)
	}
	return &s, nil
}
