package metricstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

const (
	// maxQuerySamples is what one query may hold in memory at once: 5 million
	// samples of 16 bytes are 80 MB. The largest that the pages ask for, sum by
	// (container_id)(rate(...[1m])) of 200 containers over six hours in steps of 15
	// seconds, holds 288,060 (see TestQueryNeeds), and the 60 series of a container
	// at that resolution are 86,460.
	maxQuerySamples = 5_000_000
	// queryTimeout is as long as a person waits.
	queryTimeout = 30 * time.Second
	// lookback is how old a sample may be to count as the present value: three
	// times the slowest default interval (10 s) of what is recorded.
	lookback = 30 * time.Second
	// MaxSteps is how many points of time one range query may ask for: as with
	// Prometheus, a minute's resolution for a week.
	MaxSteps = 11_000
)

// ErrTooManySteps says that a range query asks for more than MaxSteps times.
var ErrTooManySteps = errors.New("too many steps")

// ErrTooLarge says that a query would hold more samples in memory than one may.
// Who uses the Engine itself gets promql.ErrTooManySamples for it.
var ErrTooLarge = fmt.Errorf("query is too large: it needs more than %d samples at once (ask for a shorter time, larger steps or fewer series)", maxQuerySamples)

// Asker answers PromQL over one store or one set of blocks. It is safe for
// concurrent use.
type Asker struct {
	queryable storage.Queryable
	engine    *promql.Engine
}

func newAsker(q storage.Queryable, log *slog.Logger) Asker {
	return Asker{queryable: q, engine: promql.NewEngine(promql.EngineOpts{
		Logger:               quiet(log),
		MaxSamples:           maxQuerySamples,
		Timeout:              queryTimeout,
		LookbackDelta:        lookback,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		// A subquery without a step of its own gets the lookback's: finer ones
		// are to be asked for.
		NoStepSubqueryIntervalFn: func(int64) int64 { return lookback.Milliseconds() },
		Parser:                   parser.NewParser(parser.Options{}),
	})}
}

// Nothing answers every query as a store without samples does.
func Nothing() *Asker {
	empty := storage.QueryableFunc(func(_, _ int64) (storage.Querier, error) { return storage.NoopQuerier(), nil })
	a := newAsker(empty, slog.New(slog.DiscardHandler))
	return &a
}

// Queryable gives access to series and labels. Its queriers are to be closed
// soon: a store cannot close while one is open.
func (a *Asker) Queryable() storage.Queryable { return a.queryable }

// Engine is the PromQL engine, with its limits on time and samples.
func (a *Asker) Engine() *promql.Engine { return a.engine }

// Instant evaluates an expression at one time. The result's own Err is nil.
func (a *Asker) Instant(ctx context.Context, expr string, at time.Time) (*promql.Result, error) {
	q, err := a.engine.NewInstantQuery(ctx, a.queryable, nil, expr, at)
	if err != nil {
		return nil, fmt.Errorf("parse query: %w", err)
	}
	return a.run(ctx, q)
}

// Range evaluates an expression at from and then each step until to. The
// result's own Err is nil.
func (a *Asker) Range(ctx context.Context, expr string, w Window, step time.Duration) (*promql.Result, error) {
	if step <= 0 || w.To.Before(w.From) {
		return nil, fmt.Errorf("query range: step %v or window %v to %v goes backwards", step, w.From, w.To)
	}
	if n := w.To.Sub(w.From) / step; n >= MaxSteps {
		return nil, fmt.Errorf("query range: %w: %d, at most %d (take a larger step)", ErrTooManySteps, n+1, MaxSteps)
	}
	q, err := a.engine.NewRangeQuery(ctx, a.queryable, nil, expr, w.From, w.To, step)
	if err != nil {
		return nil, fmt.Errorf("parse query: %w", err)
	}
	return a.run(ctx, q)
}

// run does not close the query: that would take back the memory of its result,
// which is the caller's.
func (a *Asker) run(ctx context.Context, q promql.Query) (*promql.Result, error) {
	result := q.Exec(ctx)
	var tooMany promql.ErrTooManySamples
	switch {
	case errors.As(result.Err, &tooMany):
		return nil, fmt.Errorf("run query: %w: %w", ErrTooLarge, result.Err)
	case result.Err != nil:
		return nil, fmt.Errorf("run query: %w", result.Err)
	}
	return result, nil
}

// Querier implements storage.Queryable over disk and memory together. Damage that is
// met through it is answered with ErrDamaged and repaired.
func (s *Store) Querier(mint, maxt int64) (storage.Querier, error) {
	l := lease{damaged: s.suspect}
	if db := s.disk.acquire(); db != nil {
		l.releases = append(l.releases, s.disk.release)
		if err := l.add(db.Querier(mint, maxt)); err != nil {
			return nil, err
		}
	}
	if head := s.ram.acquire(); head != nil {
		l.releases = append(l.releases, s.ram.release)
		if head.OverlapsClosedInterval(mint, maxt) {
			if err := l.add(tsdb.NewBlockQuerier(tsdb.NewRangeHead(head, mint, maxt), mint, maxt)); err != nil {
				return nil, err
			}
		}
	}
	if len(l.releases) == 0 {
		return nil, errReopening
	}
	l.Querier = storage.NewMergeQuerier(l.parts, nil, storage.ChainedSeriesMerge)
	return &l, nil
}
