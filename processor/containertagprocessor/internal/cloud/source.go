package cloud

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/fetch"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/rounds"
)

// linkLocal is the metadata service of all three clouds. For Google it is what
// metadata.google.internal resolves to; the number needs no resolver.
const linkLocal = "http://169.254.169.254"

const (
	// sourceName is the configuration key.
	sourceName = "cloud"

	// defaultTimeout is for one request; the services answer within
	// milliseconds, and never where a packet filter drops the request.
	defaultTimeout = time.Second
	// defaultAttempt is for all requests of an attempt together.
	defaultAttempt = 3 * time.Second
	// The wait after an attempt doubles between these two.
	defaultBackoff    = time.Second
	defaultMaxBackoff = time.Minute

	// maxAnswer bounds an answer. The largest that is asked for, Azure's, has
	// about 4 KB in its documented example.
	maxAnswer = 64 << 10

	// maxValue bounds one value, in bytes.
	maxValue = 256
)

// Options says where to look. The URLs are for tests; a user has no reason to
// set them.
type Options struct {
	// Roots is where the host's sysfs is.
	Roots hostfs.Roots
	// AWS, GCP and Azure are the base URLs of the metadata services.
	AWS, GCP, Azure string
	// Timeout is for a request (1 s if 0), Attempt for all of an attempt (3 s).
	Timeout, Attempt time.Duration
	// Backoff is the first wait after an attempt (1 s if 0), MaxBackoff the
	// longest (1 min).
	Backoff, MaxBackoff time.Duration
}

// Source is the entity.Source of the cloud.
type Source struct {
	options Options
	client  *fetch.Client
}

// New returns a source. It reads and asks nothing before Run.
func New(o Options) *Source {
	o.AWS = strings.TrimRight(cmp.Or(o.AWS, linkLocal), "/")
	o.GCP = strings.TrimRight(cmp.Or(o.GCP, linkLocal), "/")
	o.Azure = strings.TrimRight(cmp.Or(o.Azure, linkLocal), "/")
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	o.Attempt = cmp.Or(o.Attempt, defaultAttempt)
	o.Backoff = cmp.Or(o.Backoff, defaultBackoff)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, defaultMaxBackoff)
	return &Source{options: o, client: fetch.New(o.Timeout, maxAnswer)}
}

// Name implements entity.Source.
func (s *Source) Name() string { return sourceName }

// Want implements entity.Source. The cloud knows no containers.
func (s *Source) Want(string, string) {}

// Run implements entity.Source.
func (s *Source) Run(ctx context.Context, sink entity.Sink) {
	table := readDMI(s.options.Roots)
	sink.PutHost(sourceName, table.attributes())
	if provider := table.provider(); provider != None {
		s.find(ctx, sink, provider)
	} else {
		sink.Up(sourceName)
	}
	<-ctx.Done()
}

// find asks the provider until it has answered.
func (s *Source) find(ctx context.Context, sink entity.Sink, provider Provider) {
	isDown := false
	for wait := s.options.Backoff; ; wait = min(2*wait, s.options.MaxBackoff) {
		attributes, err := s.ask(ctx, provider)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			sink.PutHost(sourceName, attributes)
			sink.Up(sourceName)
			return
		}
		if !isDown {
			sink.Down(sourceName, err)
			isDown = true
		}
		if !rounds.Pause(ctx, wait) {
			return
		}
	}
}

// ask makes one attempt.
func (s *Source) ask(ctx context.Context, provider Provider) ([]entity.Attribute, error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Attempt)
	defer cancel()
	switch provider {
	case AWS:
		return s.askAWS(ctx)
	case GCP:
		return s.askGCP(ctx)
	default:
		return s.askAzure(ctx)
	}
}

// attributes leaves out the values that are none.
func attributes(all ...entity.Attribute) []entity.Attribute {
	kept := make([]entity.Attribute, 0, len(all))
	for _, a := range all {
		if isValue(a.Value) {
			kept = append(kept, a)
		}
	}
	return kept
}

// isValue tells whether the text is printable ASCII of a sensible length. All
// names of the three clouds are.
func isValue(text string) bool {
	if text == "" || len(text) > maxValue {
		return false
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
