package ebpfconntrackreceiver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/nat"
)

const (
	// natCacheEntries are connections that are open at once and asked about at each
	// look; 250 bytes each.
	natCacheEntries = 1 << 14
	// natRetryEvery is how often better resolvers are tried again, where another
	// one had to be taken: conntrack may be a module that the engine loads when it
	// starts, after us.
	natRetryEvery = time.Minute
	// natRetryAtMost is what the wait grows to where this host says that it cannot:
	// neither its kernel nor our rights will change, and a trial is 0.07 s of
	// processor time in which nobody looks.
	natRetryAtMost = time.Hour
)

// translator is a NAT resolver that a better one can take the place of. It
// implements nat.Resolver.
type translator struct {
	mu      sync.RWMutex // guards what follows
	current nat.Resolver
	choice  nat.Choice
	// before are the figures of those that were replaced.
	before nat.Stats

	// For the goroutine that looks at namespaces: when a better one is tried, the
	// wait after that, and if there was a connection tracking table at the last look.
	retryAt time.Time
	wait    time.Duration
	had     bool
}

func newTranslator(r nat.Resolver, choice nat.Choice) *translator {
	return &translator{
		current: nat.NewCache(r, natCacheEntries), choice: choice,
		retryAt: time.Now().Add(natRetryEvery), wait: natRetryEvery, had: true,
	}
}

// Resolve implements nat.Resolver.
func (t *translator) Resolve(ctx context.Context, at nat.Namespace, queries []nat.Query, answers []nat.Answer) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.Resolve(ctx, at, queries, answers)
}

// Stats implements nat.Resolver: of all resolvers so far.
func (t *translator) Stats() nat.Stats {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return addStats(t.current.Stats(), t.before)
}

// addStats adds the counters, not the level.
func addStats(now, before nat.Stats) nat.Stats {
	now.Lookups += before.Lookups
	now.Hits += before.Hits
	now.Misses += before.Misses
	now.Errors += before.Errors
	now.Cached += before.Cached
	now.Gets += before.Gets
	now.Lost += before.Lost
	now.Redumps += before.Redumps
	now.Refused += before.Refused
	now.Malformed += before.Malformed
	return now
}

// Close implements nat.Resolver.
func (t *translator) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current.Close()
}

// chosen is how connections are resolved now.
func (t *translator) chosen() nat.Choice {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.choice
}

// seek tries what is better than what there is now, if it is time to. It returns
// what it took, "" for nothing, and why not something better.
func (t *translator) seek(now time.Time, open func(nat.Mode) (nat.Resolver, nat.Choice, error)) (nat.Mode, error) {
	better := betterThan(t.chosen().Mode)
	if len(better) == 0 || now.Before(t.retryAt) {
		return "", nil
	}
	refused, isFinal := map[nat.Mode]error{}, true
	var taken nat.Mode
	var errs []error
	for _, mode := range better {
		r, choice, err := open(mode)
		if err == nil {
			taken, choice.Refused = mode, refused
			errs = append(errs, t.replace(r, choice))
			break
		}
		refused[mode] = err
		errs = append(errs, err)
		isFinal = isFinal && errors.Is(err, hostfs.ErrNotSupported)
	}
	t.retryAt = now.Add(t.nextWait(isFinal && taken == ""))
	return taken, errors.Join(errs...)
}

// betterThan are the modes that are better than one, the best first.
func betterThan(mode nat.Mode) []nat.Mode {
	switch mode {
	case nat.ModePull:
		return nil
	case nat.ModeCtnetlink:
		return []nat.Mode{nat.ModePull}
	}
	return []nat.Mode{nat.ModePull, nat.ModeCtnetlink}
}

// nextWait doubles the wait after what will most likely not change.
func (t *translator) nextWait(isFinal bool) time.Duration {
	if isFinal {
		t.wait = min(2*t.wait, natRetryAtMost)
	} else {
		t.wait = natRetryEvery
	}
	return t.wait
}

// noteTable is told at each look if there is a connection tracking table. What was
// refused without one may work soon after it has appeared.
func (t *translator) noteTable(now time.Time, has bool) {
	if has && !t.had {
		t.wait = natRetryEvery
		if soon := now.Add(natRetryEvery); soon.Before(t.retryAt) {
			t.retryAt = soon
		}
	}
	t.had = has
}

// replace takes a better resolver, and closes the one before.
func (t *translator) replace(r nat.Resolver, choice nat.Choice) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.current
	t.before = addStats(old.Stats(), t.before)
	t.current, t.choice = nat.NewCache(r, natCacheEntries), choice
	return old.Close()
}

// openNAT opens what is wished for. Where auto finds nothing that works, addresses
// stay as sockets have them.
func (s *server) openNAT() error {
	r, choice, err := s.tryNAT(nat.Mode(s.cfg.NAT), s.tracker.Refresh()[0])
	if err != nil && nat.Mode(s.cfg.NAT) == nat.ModeAuto {
		// The host's namespace may not be entered by who has few rights.
		reason := err
		r, choice, err = nat.Open(nat.Options{Mode: nat.ModeOff})
		choice.Refused = map[nat.Mode]error{nat.ModePull: reason}
	}
	if err != nil {
		return fmt.Errorf("nat: %w", err)
	}
	s.nat = newTranslator(r, choice)
	return nil
}

// tryNAT opens a resolver for the host's namespace. The path of that is by a
// descriptor: the one below /proc/1 is not for everybody.
func (s *server) tryNAT(mode nat.Mode, home *netns.Namespace) (nat.Resolver, nat.Choice, error) {
	if mode == nat.ModeOff {
		return nat.Open(nat.Options{Mode: mode})
	}
	host, err := s.tracker.Open(home)
	if err != nil {
		return nil, nat.Choice{}, err
	}
	defer host.Close()
	return nat.Open(nat.Options{Mode: mode, Namespace: "/proc/self/fd/" + strconv.Itoa(int(host.Fd()))})
}

// retryNAT tries again what is better where auto had to take something else. It is
// for the goroutine that looks at namespaces.
func (s *server) retryNAT(home *netns.Namespace) {
	if nat.Mode(s.cfg.NAT) != nat.ModeAuto {
		return
	}
	now := time.Now()
	_, has := s.host.table()
	s.nat.noteTable(now, has)
	taken, err := s.nat.seek(now, func(mode nat.Mode) (nat.Resolver, nat.Choice, error) { return s.tryNAT(mode, home) })
	if err != nil {
		s.log.Debug("addresses cannot be translated better yet", zap.Error(err), zap.Time("again", s.nat.retryAt))
	}
	if taken != "" {
		s.log.Info("addresses are translated better now", zap.String("nat", string(taken)))
	}
}
