package host

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

const (
	sourceName = "host"

	// defaultInterval is how old a changed host name may be. It changes hardly
	// ever: mostly once, soon after the first boot.
	defaultInterval = time.Minute
)

// Options says which host.
type Options struct {
	Roots hostfs.Roots
	// HostName replaces the host's own name if it is not empty.
	HostName string
	// Interval is the time between two looks, a minute if 0.
	Interval time.Duration
}

// Source is the entity.Source of the host itself.
type Source struct{ options Options }

// New returns a source. It reads nothing before Run.
func New(o Options) *Source {
	o.Interval = cmp.Or(o.Interval, defaultInterval)
	return &Source{options: o}
}

// Name implements entity.Source.
func (s *Source) Name() string { return sourceName }

// Want implements entity.Source. The host knows no containers.
func (s *Source) Want(string, string) {}

// Run implements entity.Source.
func (s *Source) Run(ctx context.Context, sink entity.Sink) {
	told := s.read()
	sink.PutHost(sourceName, told)
	sink.Up(sourceName)
	ticker := time.NewTicker(s.options.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if now := s.read(); !slices.Equal(now, told) {
			sink.PutHost(sourceName, now)
			told = now
		}
	}
}

func (s *Source) read() []entity.Attribute {
	attributes := Read(s.options.Roots)
	if s.options.HostName == "" {
		return attributes
	}
	attributes = slices.DeleteFunc(attributes, func(a entity.Attribute) bool { return a.Key == keyName })
	return slices.Insert(attributes, 0, entity.Attribute{Key: keyName, Value: s.options.HostName})
}
