package nat

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Mode says how connections are looked up.
type Mode string

// The modes, as the configuration names them.
const (
	ModeAuto      Mode = "auto"
	ModePull      Mode = "pull"
	ModeCtnetlink Mode = "ctnetlink"
	ModeOff       Mode = "off"
)

const (
	// defaultEntries are a quarter of the kernel's own default limit
	// (262,144, net.netfilter.nf_conntrack_max on a host of 4 GiB and more).
	// What finds no room is asked for when it is needed.
	defaultEntries = 1 << 16
	// defaultGrace is enough for who looks once in a collection interval.
	defaultGrace = 30 * time.Second
)

// Options say how and where to look connections up.
type Options struct {
	// Mode is how; ModeAuto takes the best that works here, any other that one
	// only.
	Mode Mode
	// Namespace is the path of the network namespace that the zero [Namespace]
	// stands for, such as /proc/1/ns/net; "" is the process' own.
	Namespace string
	// MaxEntries bounds the table of ModeCtnetlink; 0 is 65,536.
	MaxEntries int
}

// Choice is what [Open] chose.
type Choice struct {
	// Mode is never ModeAuto.
	Mode Mode
	// Refused says of each better mode why it does not work here.
	Refused map[Mode]error
}

// Open makes a resolver, by trial. With ModeAuto it always gives one, if the
// namespace is there, and the choice says what is missing for a better one. With
// another mode a host that cannot do it gives an error that matches
// [github.com/tallymanhq/tallyman/internal/hostfs.ErrNotSupported], if that is
// why. Close the resolver.
func Open(o Options) (Resolver, Choice, error) {
	switch o.Mode {
	case ModePull, ModeCtnetlink, ModeOff:
		r, err := openMode(o.Mode, o)
		return r, Choice{Mode: o.Mode}, err
	case ModeAuto, "":
	default:
		return nil, Choice{}, fmt.Errorf("open conntrack resolver: mode %q: %w", o.Mode, errors.ErrUnsupported)
	}
	choice := Choice{Refused: map[Mode]error{}}
	for _, mode := range []Mode{ModePull, ModeCtnetlink} {
		r, err := openMode(mode, o)
		if err == nil {
			choice.Mode = mode
			return r, choice, nil
		}
		choice.Refused[mode] = err
	}
	choice.Mode = ModeOff
	return &off{}, choice, nil
}

func openMode(mode Mode, o Options) (Resolver, error) {
	if mode == ModeOff {
		return &off{}, nil
	}
	p, err := openPlaces(o.Namespace)
	if err != nil {
		return nil, err
	}
	var r Resolver
	if mode == ModePull {
		r, err = openPull(p)
	} else {
		r, err = openCtnetlink(p, o.ctnetlink())
	}
	if err != nil {
		return nil, errors.Join(err, p.home.Close())
	}
	return r, nil
}

func (o Options) ctnetlink() ctnetlinkOptions {
	limit := o.MaxEntries
	if limit == 0 {
		limit = defaultEntries
	}
	return ctnetlinkOptions{limit: limit, buffer: eventBuffer, grace: defaultGrace, refresh: refreshEvery, now: time.Now}
}

// off finds nothing.
type off struct{ counts counts }

// Resolve implements [Resolver].
func (o *off) Resolve(_ context.Context, _ Namespace, queries []Query, answers []Answer) error {
	clear(answers[:len(queries)])
	o.counts.lookups.Add(uint64(len(queries)))
	o.counts.misses.Add(uint64(len(queries)))
	return nil
}

// Stats implements [Resolver].
func (o *off) Stats() Stats { return o.counts.stats() }

// Close implements [Resolver].
func (o *off) Close() error { return nil }
