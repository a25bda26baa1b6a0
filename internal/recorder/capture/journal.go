package capture

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// The journal of an open capture is open/<id>/journal.jsonl, a line of JSON per
// trigger, and picture-N.json beside it. A line is written after the pictures
// that it names. The last line may be torn: what is before it counts. The folder
// goes when the capture is there; one that a crash has left beside its capture is of
// no more use.
const journalName = "journal.jsonl"

// staleAfter is when an open capture is not finished any more: four times as
// long as raw data are kept by default.
const staleAfter = 24 * time.Hour

// line is one of a journal: a trigger, and how the capture is with it.
type line struct {
	Trigger bundle.Trigger `json:"trigger"`
	// Into is the number, from 1, of the trigger that this one replaces, because both
	// tell of one incident; 0 for a new one.
	Into     int           `json:"into,omitempty"`
	Window   bundle.Window `json:"window"`
	Due      time.Time     `json:"due"`
	Host     bool          `json:"host,omitempty"`
	More     []string      `json:"more,omitempty"`
	Around   []string      `json:"around,omitempty"`
	Pictures []string      `json:"pictures,omitempty"`
	// Written is when.
	Written time.Time `json:"written"`
}

func openDir(dir string) string { return filepath.Join(dir, "open") }

// note writes the pictures that are new, then a line about the trigger.
func (p *pending) note(r request, now time.Time) error {
	l := line{
		Trigger: r.trigger, Into: r.into, Window: p.window, Due: p.due,
		Host: p.host, More: p.more, Around: p.around, Written: now,
	}
	for _, s := range r.pictures {
		key := quietKey{Kind(r.trigger.Kind), s.Container}
		if at, ok := p.newest[key]; ok && at.Equal(s.At) {
			continue
		}
		if p.newest == nil {
			p.newest = map[quietKey]time.Time{}
		}
		p.newest[key] = s.At
		name := picturePrefix + strconv.Itoa(len(p.pictures)) + ".json"
		content, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("write picture: %w", err)
		}
		// A crash may have left one of that name, of which no line tells.
		if err := writeSynced(filepath.Join(p.dir, name), os.O_TRUNC, content); err != nil {
			return err
		}
		p.pictures = append(p.pictures, name)
		l.Pictures = append(l.Pictures, name)
	}
	content, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return writeSynced(filepath.Join(p.dir, journalName), os.O_APPEND, append(content, '\n'))
}

func writeSynced(path string, how int, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|how, 0o600)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

// loadOpen reads what was open when the agent ended. What is too old, or has no
// whole line, is removed and told; where the capture is there already, and only its
// journal was to go, that goes now.
func loadOpen(shelf *Shelf, now time.Time) ([]*pending, Recovery, error) {
	entries, err := os.ReadDir(openDir(shelf.dir))
	if err != nil {
		return nil, Recovery{}, fmt.Errorf("read open captures: %w", err)
	}
	var open []*pending
	var r Recovery
	for _, entry := range slices.Backward(entries) { // the newest first: if there are too many, the oldest go
		dir := filepath.Join(openDir(shelf.dir), entry.Name())
		made := shelf.has(entry.Name())
		p, err := loadPending(dir, now)
		if !made && err == nil && now.Sub(p.due) <= staleAfter && len(open) < maxOpen {
			open = append(open, p)
			r.Open = append(r.Open, p.id)
			continue
		}
		if !made {
			r.Dropped = append(r.Dropped, entry.Name())
		}
		if err := os.RemoveAll(dir); err != nil {
			return nil, r, fmt.Errorf("remove open capture: %w", err)
		}
	}
	return open, r, nil
}

var errJournal = errors.New("no whole line, or one that cannot be")

func loadPending(dir string, now time.Time) (*pending, error) {
	content, err := os.ReadFile(filepath.Join(dir, journalName))
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	p := &pending{id: filepath.Base(dir), dir: dir}
	whole, written := p.replay(content)
	// A torn line would tear the next one too.
	if err := os.Truncate(filepath.Join(dir, journalName), int64(whole)); err != nil {
		return nil, fmt.Errorf("mend journal: %w", err)
	}
	length := p.window.To.Sub(p.window.From)
	if len(p.triggers) == 0 || !bundle.ValidID(p.id) || length < 0 || length > longest {
		return nil, fmt.Errorf("read journal of %s: %w", p.id, errJournal)
	}
	// Somewhere in between the agent was away; nobody can say when exactly.
	if from, to := written, minTime(now, p.window.To); from.Before(to) {
		p.gaps = append(p.gaps, bundle.Gap{Window: bundle.Window{From: from, To: to}, Why: "the agent ended in this time, and was started again"})
	}
	return p, nil
}

// replay reads lines until one is not whole. It returns how many bytes are, and
// when the last one was written.
func (p *pending) replay(content []byte) (whole int, written time.Time) {
	for text := range bytes.Lines(content) {
		var l line
		if !bytes.HasSuffix(text, []byte("\n")) || json.Unmarshal(text, &l) != nil {
			break
		}
		whole += len(text)
		if l.Into > 0 && l.Into <= len(p.triggers) {
			p.triggers[l.Into-1] = l.Trigger
		} else {
			p.triggers = append(p.triggers, l.Trigger)
		}
		p.window, p.due, p.host, p.more, p.around, written = l.Window, l.Due, l.Host, l.More, l.Around, l.Written
		for _, name := range l.Pictures {
			if isPicture(name) && !slices.Contains(p.pictures, name) {
				p.pictures = append(p.pictures, name)
			}
		}
	}
	return whole, written
}

const picturePrefix = "picture-"

// isPicture tells of a name that this package gives.
func isPicture(name string) bool {
	return strings.HasPrefix(name, picturePrefix) && filepath.IsLocal(name) && filepath.Base(name) == name
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
