package statictags

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

const (
	sourceName = "host_tags"

	// defaultDebounce is how long a folder must be quiet before the file is
	// read. An editor's steps come within a few milliseconds.
	defaultDebounce = 100 * time.Millisecond
	// maxDebounces is how many of them a restless folder delays the reading.
	maxDebounces = 10
	// defaultRecheck finds what the folder does not show.
	defaultRecheck = time.Minute
	// defaultRetry is the wait while the folder cannot be watched.
	defaultRetry = time.Second
)

// Options says which tags.
type Options struct {
	// Tags are those of the configuration, as [Validate] accepts them.
	Tags map[string]string
	// File is watched if it is not empty. It need not be there yet.
	File string
	// Debounce is how long the folder must be quiet, 100 ms if 0.
	Debounce time.Duration
	// Recheck is the longest time between two looks at the file, a minute if 0.
	Recheck time.Duration
	// Retry is the wait while the folder cannot be watched, a second if 0.
	Retry time.Duration
}

// Source is the entity.Source of static tags.
type Source struct{ options Options }

// New returns a source. It reads nothing before Run.
func New(o Options) *Source {
	o.Debounce = cmp.Or(o.Debounce, defaultDebounce)
	o.Recheck = cmp.Or(o.Recheck, defaultRecheck)
	o.Retry = cmp.Or(o.Retry, defaultRetry)
	return &Source{options: o}
}

// Name implements entity.Source.
func (s *Source) Name() string { return sourceName }

// Want implements entity.Source. Static tags know no containers.
func (s *Source) Want(string, string) {}

// Begin tells the tags of the configuration, so that the first data have them. It is
// called before Run.
func (s *Source) Begin(sink entity.Sink) {
	t := &teller{options: s.options, sink: sink}
	t.put(nil)
}

// Run implements entity.Source.
func (s *Source) Run(ctx context.Context, sink entity.Sink) {
	t := &teller{options: s.options, sink: sink}
	t.put(nil)
	if s.options.File == "" {
		sink.Up(sourceName)
		<-ctx.Done()
		return
	}
	for ctx.Err() == nil {
		err := s.watch(ctx, t)
		if ctx.Err() != nil {
			return
		}
		t.load(err)
		wait(ctx, s.options.Retry)
	}
}

// teller reads the file and tells what is new. It belongs to the goroutine of
// Run.
type teller struct {
	options Options
	sink    entity.Sink
	told    []entity.Attribute
	isUp    bool
	// complaint is what was last told to be wrong, with the version it is about.
	complaint string
}

// load reads the file and tells what it says. With unwatched, the reason why the
// folder cannot be watched, good content is told all the same, as an inotify
// limit must not cost the tags, but the source is not up.
func (t *teller) load(unwatched error) {
	content, err := readFile(t.options.File)
	if err != nil {
		t.complain(err, err.Error())
		return
	}
	tags, err := parse(content)
	if err != nil {
		// The same mistake in another content is another one to tell.
		t.complain(fmt.Errorf("parse %s: %w", t.options.File, err), string(content))
		return
	}
	t.put(tags)
	if unwatched != nil {
		t.complain(unwatched, unwatched.Error())
		return
	}
	if !t.isUp {
		t.sink.Up(sourceName)
	}
	t.isUp, t.complaint = true, ""
}

// put tells the tags of configuration and file, if they have changed.
func (t *teller) put(file map[string]string) {
	tags := maps.Clone(t.options.Tags)
	if tags == nil {
		tags = make(map[string]string)
	}
	maps.Copy(tags, file)
	all := make([]entity.Attribute, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, entity.Attribute{Key: key, Value: tags[key]})
	}
	if t.told == nil || !slices.Equal(t.told, all) {
		t.sink.PutHost(sourceName, all)
	}
	t.told = all
}

func (t *teller) complain(err error, version string) {
	if t.isUp || t.complaint != version {
		t.sink.Down(sourceName, err)
	}
	t.isUp, t.complaint = false, version
}

var (
	errNotRegular = errors.New("not a regular file")
	errTooLarge   = errors.New("larger than 64 KiB")
)

// readFile does not wait for the writer of a pipe.
func readFile(name string) ([]byte, error) {
	file, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: %w", name, errNotRegular)
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("read %s: %w", name, errTooLarge)
	}
	return content, nil
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
