package capture

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/redact"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/report"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
)

// cutting is one capture while it is written.
type cutting struct {
	e       *Engine
	p       *pending
	w       *bundle.Writer
	m       *bundle.Manifest
	members map[string]bool // ids of containers in scope
	pics    []*state.Snapshot
	scratch string
}

var errNone = errors.New("this agent has none")

// cut writes an open capture to its file and removes its journal.
func (e *Engine) cut(ctx context.Context, p *pending) (Capture, error) {
	start := e.o.Now()
	c := &cutting{e: e, p: p, scratch: filepath.Join(p.dir, "cut")}
	if err := os.RemoveAll(c.scratch); err != nil {
		return Capture{}, fmt.Errorf("cut capture %s: %w", p.id, err)
	}
	c.describe()
	var err error
	if c.w, err = bundle.Create(e.shelf.path(p.id), start); err != nil {
		return Capture{}, fmt.Errorf("cut capture %s: %w", p.id, err)
	}
	if err := c.fill(ctx); err != nil {
		return Capture{}, errors.Join(fmt.Errorf("cut capture %s: %w", p.id, err), c.w.Discard(), os.RemoveAll(c.scratch))
	}
	size, err := c.w.Finish(c.m)
	if err != nil {
		return Capture{}, errors.Join(fmt.Errorf("cut capture %s: %w", p.id, err), os.RemoveAll(c.scratch))
	}
	// From here on the capture is there; what goes wrong is told with it.
	removed, err := e.shelf.Tidy(p.id)
	if err = errors.Join(err, os.RemoveAll(p.dir)); err != nil {
		e.o.Failed(Failure{ID: p.id, Triggers: p.triggers, Err: fmt.Errorf("tidy captures: %w", err), Made: true})
	}
	return Capture{
		ID: p.id, Path: e.shelf.path(p.id), Size: size, Manifest: c.m, Took: e.o.Now().Sub(start), Removed: removed,
	}, nil
}

// describe makes the manifest and decides whose data are in.
func (c *cutting) describe() {
	c.m = &bundle.Manifest{
		ID: c.p.id, Created: c.e.o.Now(), Window: c.p.window, Triggers: c.p.triggers, Verdict: verdict(c.p.triggers),
		First: c.p.mayBeFirst() && c.e.shelf.isFirst(bundle.Gravest(c.p.triggers)), Host: c.e.o.Host, Gaps: slices.Clone(c.p.gaps),
		Scope: bundle.Scope{Host: c.p.host},
	}
	c.members = map[string]bool{}
	own := c.own()
	for _, id := range own {
		c.members[id] = true
	}
	for _, id := range own {
		c.addAround(c.around(id))
	}
	c.addAround(c.p.around)
	if !c.p.host {
		c.m.Scope.Containers = slices.Sorted(maps.Keys(c.members))
	}
	if c.p.ignored > 0 {
		c.miss("triggers", fmt.Errorf("%d more of them did not fit", c.p.ignored))
	}
}

// maxScope bounds the containers of a capture that is not of the whole host: twice
// those of the default scope, for captures with several victims.
const maxScope = 64

// own are the containers that somebody named: triggers, or who asked.
func (c *cutting) own() []string {
	var ids []string
	for _, t := range c.p.triggers {
		ids = append(ids, t.Container.ID)
	}
	ids = append(ids, c.p.more...)
	return slices.DeleteFunc(ids, func(id string) bool { return id == "" })
}

func (c *cutting) around(id string) []string {
	if c.e.o.Entities == nil || c.p.host || len(c.members) >= maxScope {
		return nil
	}
	return c.e.o.Entities.Around(id, c.p.window)
}

func (c *cutting) addAround(ids []string) {
	for _, id := range ids {
		if len(c.members) < maxScope {
			c.members[id] = true
		}
	}
}

func (c *cutting) keeps(container string) bool {
	return container == "" || c.p.host || c.members[container]
}

func (c *cutting) miss(what string, why error) {
	c.m.Missing = append(c.m.Missing, bundle.Missing{What: what, Why: clean(Text(why))})
}

// fill adds the members. Only what keeps the file from being written is an
// error; a store that cannot give its part is missing in the manifest.
func (c *cutting) fill(ctx context.Context) error {
	if err := c.store(ctx, bundle.MetricsDir, c.e.o.Metrics); err != nil {
		return err
	}
	if err := c.store(ctx, bundle.EventsDir, c.e.o.Events); err != nil {
		return err
	}
	for _, add := range []func(context.Context) error{c.state, c.inspect, c.entities, c.agent, c.report} {
		if err := add(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (c *cutting) store(ctx context.Context, name string, store Store) error {
	if store == nil {
		c.miss(name, errNone)
		return nil
	}
	dir := filepath.Join(c.scratch, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	result, err := store.Cut(ctx, CutRequest{Window: c.p.window, Keep: c.keeps, Dir: dir})
	if err != nil {
		c.miss(name, err)
		// On a full disk the rest may fit into what a half part took.
		return errors.Join(ctx.Err(), os.RemoveAll(dir))
	}
	c.m.Gaps = append(c.m.Gaps, result.Gaps...)
	for reason, n := range result.Drops {
		if c.m.Drops == nil {
			c.m.Drops = map[string]uint64{}
		}
		c.m.Drops[name+": "+reason] += n
	}
	return errors.Join(c.w.AddTree(name, dir), os.RemoveAll(dir))
}

// processState, socketState and hostState are one entry each of the lists in
// state/*.json.
type (
	processState struct {
		Container string          `json:"container,omitempty"`
		At        string          `json:"at"`
		Processes []state.Process `json:"processes"`
	}
	socketState struct {
		Container string        `json:"container,omitempty"`
		At        string        `json:"at"`
		Sockets   []state.Netns `json:"namespaces"`
	}
	hostState struct {
		At    string            `json:"at"`
		Files map[string]string `json:"files"`
	}
)

// instant is how times are written in state/*.json.
const instant = "2006-01-02T15:04:05.000000Z07:00"

// state adds what the pictures show.
func (c *cutting) state(context.Context) error {
	// None is a list without entries: readers of JSON want one.
	processes, sockets, hosts := []processState{}, []socketState{}, []hostState{}
	kernel := ""
	if c.p.isPast() {
		c.miss("state", errPast)
	}
	for i, name := range c.p.pictures {
		s, err := c.p.readPicture(name)
		if err != nil {
			c.miss("state", err)
			continue
		}
		s.Processes = withVictims(s, c.p.triggers)
		c.pics = append(c.pics, s)
		at := s.At.Format(instant)
		processes = append(processes, processState{s.Container, at, orEmpty(s.Processes)})
		sockets = append(sockets, socketState{s.Container, at, orEmpty(s.Sockets)})
		hosts = append(hosts, hostState{at, s.Host})
		kernel = longer(kernel, s.Kernel)
		c.redacted(bundle.StateDir, s.Redacted)
		if err := c.cgroup(i, s); err != nil {
			return err
		}
	}
	c.missState()
	if kernel = longer(kernel, c.kernelNow()); kernel != "" {
		if err := c.w.Add(bundle.KernelName, []byte(kernel)); err != nil {
			return err
		}
	}
	return errors.Join(
		c.w.AddJSON(bundle.StateDir+"/processes.json", processes),
		c.w.AddJSON(bundle.StateDir+"/sockets.json", sockets),
		c.w.AddJSON(bundle.StateDir+"/host.json", hosts),
	)
}

// dead is the kernel's letter for a process that is gone.
const dead = "X"

// withVictims adds the processes of the picture's container that triggers tell of. Most
// are gone before anybody can take a picture.
func withVictims(s *state.Snapshot, triggers []bundle.Trigger) []state.Process {
	processes := s.Processes
	for _, t := range triggers {
		v := t.Process
		if v == nil || v.PID == 0 || s.Container == "" || t.Container.ID != s.Container {
			continue
		}
		i := slices.IndexFunc(processes, func(p state.Process) bool { return p.PID == v.PID })
		if i < 0 {
			i = len(processes)
			processes = append(processes, state.Process{PID: v.PID, VPID: v.VPID, Comm: v.Name, RSS: uint64(max(v.RSS, 0)), State: dead})
		}
		if processes[i].Exited.IsZero() {
			processes[i].Exited = t.At
		}
	}
	return processes
}

var errPast = errors.New("nobody took a picture at that time")

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// missState tells what the pictures lack. What a right is missing for lacks in all of
// them: that is one line.
func (c *cutting) missState() {
	type lack struct{ what, why string }
	var order []lack
	of := map[lack][]string{}
	for _, s := range c.pics {
		for _, missing := range s.Missing {
			l := lack{missing.What, missing.Why}
			if of[l] == nil {
				order = append(order, l)
			}
			if who := orHost(s.Container); !slices.Contains(of[l], who) {
				of[l] = append(of[l], who)
			}
		}
	}
	for _, l := range order {
		who := of[l]
		if more := len(who) - maxListed; more > 0 {
			who = append(who[:maxListed:maxListed], fmt.Sprintf("%d more", more))
		}
		c.miss("state of "+strings.Join(who, ", ")+": "+l.what, errors.New(l.why))
	}
}

// maxListed is how many containers a line of what is missing names.
const maxListed = 3

// kernelNow asks once more: at the trigger the kernel may not have said all.
func (c *cutting) kernelNow() string {
	isOOM := func(t bundle.Trigger) bool { return t.Kind == string(OOM) || t.Kind == string(Degraded) }
	if !slices.ContainsFunc(c.p.triggers, isOOM) {
		return ""
	}
	s := c.e.o.Camera.Take(c.e.ctx, state.Request{KernelFrom: c.p.window.From})
	c.redacted(bundle.KernelName, s.Redacted)
	return s.Kernel
}

func longer(a, b string) string {
	if len(b) > len(a) {
		return b
	}
	return a
}

func orHost(container string) string {
	if container == "" {
		return "the host"
	}
	return container[:min(len(container), 12)]
}

// cgroup adds the files of a cgroup, of the first picture under the id, of
// later ones with a number.
func (c *cutting) cgroup(i int, s *state.Snapshot) error {
	if s.Container == "" {
		return nil
	}
	dir := path.Join(bundle.StateDir, "cgroup", memberID(s.Container))
	first := slices.IndexFunc(c.pics, func(o *state.Snapshot) bool { return o.Container == s.Container })
	if c.pics[first] != s {
		dir += "@" + strconv.Itoa(i)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Cgroup)) {
		if err := c.w.Add(path.Join(dir, name), []byte(s.Cgroup[name])); err != nil {
			return err
		}
	}
	return nil
}

// memberID is an id as part of a member's name: ids come from resource
// attributes, and those from anywhere.
func memberID(id string) string {
	if bundle.ValidID(id) {
		return id
	}
	return "odd-" + plain(id)
}

func (c *cutting) redacted(where string, counts map[string]int) {
	for _, what := range redact.Whats(counts) {
		i := slices.IndexFunc(c.m.Redactions, func(r bundle.Redaction) bool { return r.Where == where && r.What == what })
		if i < 0 {
			c.m.Redactions = append(c.m.Redactions, bundle.Redaction{Where: where, What: what})
			i = len(c.m.Redactions) - 1
		}
		c.m.Redactions[i].Count += counts[what]
	}
}

// storyWithin bounds the queries for the page, which take some 100 ms.
const storyWithin = 30 * time.Second

// report renders the page, which is the last member that needs the others.
func (c *cutting) report(ctx context.Context) error {
	data := report.Data{Manifest: c.m, Snapshots: c.pics}
	if story := c.e.o.Story; story != nil {
		asking, done := context.WithTimeout(ctx, storyWithin)
		defer done()
		plots, err := story.Plots(asking, bundle.Gravest(c.p.triggers).Container.ID, c.p.window)
		if err != nil {
			c.miss("plots of the report", err)
		}
		marks, err := story.Marks(asking, c.p.window, c.keeps)
		if err != nil {
			c.miss("time line of the report", err)
		}
		data.Plots, data.Marks = plots, c.maskMarks(marks)
	}
	html, err := report.Render(data, c.e.o.Assets)
	if err != nil {
		c.miss(bundle.ReportName, err)
		return nil
	}
	return c.w.Add(bundle.ReportName, html)
}

func (c *cutting) maskMarks(marks []report.Mark) []report.Mark {
	for i := range marks {
		marks[i].Text, marks[i].Who = clean(marks[i].Text), clean(marks[i].Who)
	}
	return marks
}
