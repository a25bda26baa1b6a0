package capture

import (
	"fmt"
	"slices"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
)

const (
	// pictureEvery is the shortest time between two pictures of one container for
	// one kind of trigger: a container that is killed once a second is seen often
	// enough.
	pictureEvery = 10 * time.Second
	// maxPictures bounds the pictures that one request takes: all that are looked at
	// where nobody has named a container. picturesWithin bounds the time for them, in
	// which the next trigger waits.
	maxPictures, picturesWithin = 32, time.Second
	// maxRecent bounds the memory of pictures that were taken just now.
	maxRecent = 64
	// picturedSize is how many triggers with their pictures wait for the journal, whose
	// disk may take a second for a write. A picture is some 100 kB.
	picturedSize = 16
)

// shutter takes pictures as soon as triggers come, whatever else the engine is at:
// the runtime removes a cgroup within milliseconds of its last process.
type shutter struct {
	e      *Engine
	recent map[quietKey]taken
	// around is the last answer to who matters, and when it was given.
	around   []string
	aroundAt time.Time
}

// taken is a picture and when it was asked for.
type taken struct {
	at      time.Time
	picture *state.Snapshot
}

func (e *Engine) takePictures() {
	defer e.wait.Done()
	s := shutter{e: e, recent: map[quietKey]taken{}}
	for {
		select {
		case <-e.ctx.Done():
			return
		case r := <-e.queue:
			s.take(&r)
			select {
			case e.pictured <- r:
			case <-e.ctx.Done():
				return
			}
		}
	}
}

// take takes pictures of the containers of a request, and of the host alone if there
// is none. One that is a few seconds old is taken again by no one: it is handed out
// once more. Of a time that is over there are no pictures.
func (s *shutter) take(r *request) {
	r.around = s.matter(r)
	if r.isPast() {
		return
	}
	started := s.e.o.Now()
	ids := distinct(slices.Concat([]string{r.trigger.Container.ID}, r.more, r.around))
	for _, id := range ids[:min(len(ids), maxPictures)] {
		r.pictures = append(r.pictures, s.picture(r, id, s.e.o.Now().Sub(started) >= picturesWithin))
	}
}

// matter are the containers that belong into a capture which somebody wants without
// naming one. Records may ask for captures as fast as they come: one answer is good
// for some seconds.
func (s *shutter) matter(r *request) []string {
	if r.trigger.Kind != string(Manual) || r.trigger.Container.ID != "" || len(r.more) > 0 || s.e.o.Entities == nil {
		return nil
	}
	w, at := r.window, r.trigger.At
	if w.To.IsZero() {
		w = bundle.Window{From: at.Add(-before), To: at}
	}
	if r.answer != nil {
		return s.e.o.Entities.Around("", w)
	}
	if s.around == nil || at.Sub(s.aroundAt).Abs() >= pictureEvery {
		s.around, s.aroundAt = s.e.o.Entities.Around("", w), at
	}
	return s.around
}

// picture takes one of a container, unless there is one or it is too late.
func (s *shutter) picture(r *request, id string, late bool) *state.Snapshot {
	now := s.e.o.Now()
	s.forget(now)
	key := quietKey{Kind(r.trigger.Kind), id}
	last, ok := s.recent[key]
	if ok {
		return last.picture
	}
	if late {
		return &state.Snapshot{Container: id, At: now, Missing: []state.Missing{{
			What: "picture", Why: fmt.Sprintf("no time left: others took %v", picturesWithin),
		}}}
	}
	ask := state.Request{Container: id}
	if r.trigger.Kind == string(OOM) {
		ask.KernelFrom = r.trigger.At.Add(-time.Minute)
	}
	last = taken{now, s.e.o.Camera.Take(s.e.ctx, ask)}
	s.recent[key] = last
	return last.picture
}

// distinct leaves out what was there before.
func distinct(ids []string) []string {
	var out []string
	for _, id := range ids {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

func (s *shutter) forget(now time.Time) {
	for key, t := range s.recent {
		if now.Sub(t.at).Abs() >= pictureEvery { // also when the clock was set back
			delete(s.recent, key)
		}
	}
	if len(s.recent) >= maxRecent {
		clear(s.recent)
	}
}
