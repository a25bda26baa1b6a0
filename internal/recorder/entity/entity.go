package entity

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Entity is one incarnation of a container. It is a copy that belongs to the
// caller, except what the pointers in it point to, which nobody changes.
type Entity struct {
	// Seq numbers incarnations from 1 in the order in which they became known. It
	// is never used again.
	Seq uint64 `json:"seq"`
	// ID is container.id. Several incarnations may have it.
	ID string `json:"id"`

	// Name, Image, Service, Project and Runtime are the tags container.name,
	// container.image.name, service.name, docker.compose.project and
	// container.runtime.name; empty if nobody has told.
	Name    string `json:"name,omitempty"`
	Image   string `json:"image,omitempty"`
	Service string `json:"service,omitempty"`
	Project string `json:"project,omitempty"`
	Runtime string `json:"runtime,omitempty"`
	// Tags are all resource attributes that were seen, but for container.id.
	Tags map[string]string `json:"tags,omitempty"`

	// Start is zero while nobody has told when it began.
	Start time.Time `json:"start,omitzero"`
	// Stop is zero while it has not ended, as far as anybody knows.
	Stop time.Time `json:"stop,omitzero"`
	// StopGuessed: nobody has told of the end. Stop is when it was last heard of,
	// or when something was heard that it cannot have lived to see.
	StopGuessed bool `json:"stop_guessed,omitempty"`
	// FirstSeen and LastSeen bound what was heard of it. Where the clock was set back
	// meanwhile, LastSeen can be before FirstSeen.
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	// Removed is when the engine forgot it; zero if it has not.
	Removed time.Time `json:"removed,omitzero"`

	// Status and Health are the engine's words, such as paused and unhealthy;
	// empty where no engine is followed.
	Status string `json:"status,omitempty"`
	Health string `json:"health,omitempty"`
	// PID is the first process as the host numbers it, 0 if unknown.
	PID int `json:"pid,omitempty"`
	// Restarts is how often this id was started before: the engine's count, or the
	// incarnations before this one, whichever is more.
	Restarts int `json:"restarts,omitempty"`

	// ExitCode and ExitSignal are nil if unknown; a signal also makes an exit code
	// of 128 and its number.
	ExitCode   *int `json:"exit_code,omitempty"`
	ExitSignal *int `json:"exit_signal,omitempty"`
	// OOMKilled: the OOM killer killed some process of it. OOMKills counts them as
	// far as they were told; LastKill is the last of them, nil for none.
	OOMKilled bool  `json:"oom_killed,omitempty"`
	OOMKills  int   `json:"oom_kills,omitempty"`
	LastKill  *Kill `json:"last_kill,omitempty"`
	// Degraded is what it runs without now or, once it has ended, ran without in
	// the end.
	Degraded []Degradation `json:"degraded,omitempty"`
	// LastEvent is the newest of the events that change an entity, nil for none.
	LastEvent *Note `json:"last_event,omitempty"`
	// MemoryPeak (bytes), PidsPeak and CPUSeconds are the sums of its life, told at
	// its end; 0 if unknown.
	MemoryPeak int64   `json:"memory_peak,omitempty"`
	PidsPeak   int64   `json:"pids_peak,omitempty"`
	CPUSeconds float64 `json:"cpu_seconds,omitempty"`

	// Incarnation counts, from 1, those of its name that are known, or of its id if it
	// has no name. It is found out when somebody asks.
	Incarnation int `json:"-"`
}

// Note is an event in short.
type Note struct {
	At   time.Time `json:"at"`
	Name string    `json:"name"`
	Body string    `json:"body,omitempty"`
}

// Kill is what the OOM killer did to a process. Absent numbers are 0.
type Kill struct {
	At         time.Time `json:"at"`
	Executable string    `json:"executable,omitempty"`
	PID        int       `json:"pid,omitempty"`
	VPID       int       `json:"vpid,omitempty"`
	// RSS is in bytes.
	RSS int64 `json:"rss,omitempty"`
	// Init: the victim was the first process of the container. Survived: that one
	// lived on. Both are nil if unknown.
	Init     *bool `json:"init,omitempty"`
	Survived *bool `json:"survived,omitempty"`
}

// Degradation is something that a container runs without.
type Degradation struct {
	// Reason is oom, crash or gave_up.
	Reason     string    `json:"reason"`
	Since      time.Time `json:"since"`
	Executable string    `json:"executable,omitempty"`
	PID        int       `json:"pid,omitempty"`
	Count      int       `json:"count,omitempty"`
	// Text is the event's sentence, empty if only a metric has told.
	Text string `json:"text,omitempty"`
}

// State is what pages group containers by. Each entity has exactly one.
type State string

// The states. A broken container runs, but without a process that it needs.
const (
	Any     State = ""
	Running State = "running"
	Ended   State = "ended"
	Broken  State = "broken"
)

// statusCreated is the engine's word for a container that was never started.
const statusCreated = "created"

// Began is the start or, while that is unknown, when it was first heard of.
func (e *Entity) Began() time.Time {
	if e.Start.IsZero() {
		return e.FirstSeen
	}
	return e.Start
}

// StateAt is the state at a time within the entity's life or after it. The zero
// time stands for now. A container that was made and never started is Ended.
func (e *Entity) StateAt(at time.Time) State {
	now := at.IsZero()
	switch {
	case !e.Stop.IsZero() && (now || !e.Stop.After(at)), e.Status == statusCreated:
		return Ended
	case slices.ContainsFunc(e.Degraded, func(d Degradation) bool { return now || !d.Since.After(at) }):
		return Broken
	}
	return Running
}

// Filter chooses entities. Its zero value chooses all.
type Filter struct {
	// From and To choose those that lived for some time in between; a zero time is
	// no bound. State is as of To.
	From, To time.Time
	State    State
	// Text is some words that must all be found, in any case of letters: in the
	// id, or in a tag written as key=value.
	Text string
}

func (f *Filter) matches(r *run, words []string) bool {
	e := &r.Entity
	if !f.To.IsZero() && e.Began().After(f.To) || !e.Stop.IsZero() && e.Stop.Before(f.From) {
		return false
	}
	if f.State != Any && e.StateAt(f.To) != f.State {
		return false
	}
	for _, word := range words {
		if !strings.Contains(strings.ToLower(e.ID), word) && !r.tags.contain(word) {
			return false
		}
	}
	return true
}

// run is an entity as the table holds it. Its Tags are nil; they are in tags.
type run struct {
	Entity
	tags tagSet
	// prints are the attributes that were merged already, as hashes, the oldest at
	// next; 0 is none.
	prints [rememberedPrints]uint64
	next   uint8
	// starts and stops are when each source said that it began and ended, in ns;
	// 0: it has not said.
	starts, stops [sources]int64
	// words is what was counted of its text beside the tags, in bytes.
	words int64
	// version is the table's when the run changed last.
	version uint64
	// inherited: the tags are those of the run before, until some come.
	inherited bool
	// quiet: Stop was guessed from silence, and anything heard takes it back.
	quiet bool
	// dirty: on the table's list of what is to be written. gone: given up.
	dirty, gone bool
}

// rememberedPrints is how many receivers and applications can describe one
// container in different ways before its tags are compared one by one again.
const rememberedPrints = 8

// derive sets the fields that are tags, too.
func (r *run) derive() {
	for _, f := range fieldTags {
		value, _ := r.tags.get(f.key)
		*f.field(&r.Entity) = value
	}
}

// fieldTags are the tags that are fields of an entity.
var fieldTags = []struct {
	key   string
	field func(*Entity) *string
}{
	{"container.name", func(e *Entity) *string { return &e.Name }},
	{"container.image.name", func(e *Entity) *string { return &e.Image }},
	{"service.name", func(e *Entity) *string { return &e.Service }},
	{"docker.compose.project", func(e *Entity) *string { return &e.Project }},
	{"container.runtime.name", func(e *Entity) *string { return &e.Runtime }},
}

// export returns the run as a copy for a caller.
func (r *run) export() Entity {
	e := r.Entity
	e.Tags = r.tags.asMap()
	e.Degraded = append([]Degradation(nil), e.Degraded...) // nil for none
	return e
}

// adopt makes a run of an entity that was read. The fields win over tags that
// are not there, so that a line without tags has a name.
func adopt(e Entity) *run {
	tags := maps.Clone(e.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	for _, f := range fieldTags {
		if _, ok := tags[f.key]; !ok && *f.field(&e) != "" {
			tags[f.key] = *f.field(&e)
		}
	}
	e.Tags = nil
	r := &run{Entity: e}
	r.tags, _ = tagSet(nil).merged(tagsOf(tags), true)
	r.derive()
	return r
}
