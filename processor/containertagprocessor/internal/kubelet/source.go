package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/rounds"
)

const (
	// name is the configuration key of the source.
	name = "kubelet"
	// defaultInterval is for what no want has told: labels and addresses that
	// change while a pod lives. The kubelet itself learns of dead containers
	// every second, and of specifications at once.
	defaultInterval = 10 * time.Second
	// defaultTimeout covers a kubelet that asks the API server about the token,
	// which it does when it has not seen it for some minutes.
	defaultTimeout = 10 * time.Second
	// fetchSpacing is the least time between two requests: each answer is the
	// whole list, about 10 kB per pod.
	fetchSpacing = time.Second
	// extraFetches come one after the other when a container is wanted whose pod
	// is known: the kubelet looks for new containers every second, and then
	// writes the pod's status.
	extraFetches = 3
	// defaultTokenFile is where a pod finds the token of its service account.
	defaultTokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"
)

// Options are what New needs. Zero values mean the defaults.
type Options struct {
	// Endpoint is the kubelet's address, "https://node:10250" or
	// "http://127.0.0.1:10255". It has no default.
	Endpoint string
	// TokenFile holds the bearer token and is read for each request, because
	// tokens are renewed. The default is the service account's; that one may be
	// missing.
	TokenFile string
	// CAFile holds the certificates, in PEM, that the kubelet's must be signed
	// by. Without it those of the system count.
	CAFile string
	// InsecureSkipVerify accepts any certificate: kubelets sign their own
	// unless the cluster renews them.
	InsecureSkipVerify bool
	// Interval is the longest time between two requests, 10 s by default.
	Interval time.Duration
	// Timeout bounds one request with its answer, 10 s by default.
	Timeout time.Duration
	// KeepEnv tells which environment variables of containers are kept, by
	// name; nil keeps none. It is called by the goroutine of Run.
	KeepEnv func(name string) bool
}

// Source is an [entity.Source] over one kubelet.
type Source struct {
	options Options
	url     string
	view    view
	client  *client
	up      bool // Up was told after the last Down
	down    bool // Down was told after the last Up
	extra   int  // requests that do not wait for the interval

	wants *rounds.Queue
}

var (
	errEndpoint = errors.New("it is no http or https address of a host")
	errUser     = errors.New("it must not have a user or password (use the token file)")
)

// New checks the options and that the certificates can be read. It connects to
// nothing.
func New(options Options) (*Source, error) {
	if options.Interval <= 0 {
		options.Interval = defaultInterval
	}
	if options.Timeout <= 0 {
		options.Timeout = defaultTimeout
	}
	if options.KeepEnv == nil {
		options.KeepEnv = func(string) bool { return false }
	}
	u, err := url.Parse(options.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("parse endpoint: %w", err)
	}
	if u.User != nil {
		return nil, fmt.Errorf("use endpoint: %w", errUser)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, fmt.Errorf("use endpoint %q: %w", options.Endpoint, errEndpoint)
	}
	if _, err := readCertificates(options.CAFile); err != nil {
		return nil, err
	}
	return &Source{
		options: options,
		url:     u.JoinPath("pods").String(),
		view:    newView(),
		wants:   rounds.NewQueue(),
	}, nil
}

// Name is the configuration key of the source.
func (s *Source) Name() string { return name }

// Want makes a request due. It does not block; what exceeds the bound of
// waiting ids is forgotten, and comes with the next answer if it exists.
func (s *Source) Want(id, podUID string) { s.wants.Add(rounds.Want{ID: id, PodUID: podUID}) }

// Run tells the sink what the kubelet has until ctx is done. It must not run
// twice at the same time.
func (s *Source) Run(ctx context.Context, sink entity.Sink) {
	defer s.disconnect()
	for {
		started := time.Now()
		err := s.refresh(ctx, sink)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !s.down {
			s.up, s.down = false, true
			sink.Down(name, err)
		}
		if err != nil {
			s.disconnect()
		}
		if !s.untilNext(ctx, started, err) {
			return
		}
	}
}

// refresh asks once and tells what has changed.
func (s *Source) refresh(ctx context.Context, sink entity.Sink) error {
	if s.client == nil {
		var err error
		if s.client, err = newClient(s.url, &s.options); err != nil {
			return err
		}
	}
	wants := s.wants.Take()
	answer, err := s.client.pods(ctx)
	if err != nil {
		s.wants.Return(wants)
		return err
	}
	if !s.up {
		s.view.forgetTold()
	}
	if answer.changed {
		s.view.take(answer.pods, s.options.KeepEnv)
	}
	if answer.changed || !s.up {
		s.view.tell(sink)
	}
	if !s.up {
		s.up, s.down = true, false
		sink.Up(name)
	}
	s.extra = max(0, s.extra-1)
	if s.view.answer(sink, wants) {
		s.extra = extraFetches
	}
	return nil
}

// disconnect forgets the connection, and with it the certificates and the last
// answer: all are read again.
func (s *Source) disconnect() {
	if s.client != nil {
		s.client.close()
		s.client = nil
	}
}

// untilNext waits until a request is due and allowed, and tells whether ctx
// still lives. After an answer that was a refusal or of no use, nobody's want
// makes it due earlier: it costs the kubelet a question to the API server, and
// would be the same.
func (s *Source) untilNext(ctx context.Context, started time.Time, err error) bool {
	if err != nil {
		wait := fetchSpacing
		if errors.Is(err, errAnswer) {
			wait = max(s.options.Interval, fetchSpacing)
		}
		return rounds.Pause(ctx, wait-time.Since(started))
	}
	wait := s.options.Interval
	if s.extra > 0 {
		wait = min(wait, fetchSpacing)
	}
	interval := time.NewTimer(wait)
	defer interval.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-s.wants.Due():
		if !rounds.Pause(ctx, fetchSpacing-time.Since(started)) {
			return false
		}
	case <-interval.C:
	}
	// What became due meanwhile is answered by the same request.
	select {
	case <-s.wants.Due():
	default:
	}
	return ctx.Err() == nil
}
