package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/stats"
)

// maxSteps is Prometheus' limit; Grafana asks for larger steps above it.
const maxSteps = 11000

// maxNotes is how many warnings, and how many infos, an answer carries: Prometheus'.
const maxNotes = 10

var errTruncated = errors.New("results truncated due to limit")

// ask has what both kinds of queries have.
type ask struct {
	text    string
	limit   int
	timeout time.Duration
	stats   string
	options promql.QueryOpts
	// make prepares the query, which may fail for its text only.
	make func(ctx context.Context, a *ask) (promql.Query, error)
}

func (s *Server) query(w http.ResponseWriter, r *http.Request) *failure {
	p, f := s.form(w, r)
	if f != nil {
		return f
	}
	at := p.time("time", s.o.Now())
	a := newAsk(p)
	a.make = func(ctx context.Context, a *ask) (promql.Query, error) {
		return s.o.Engine.NewInstantQuery(ctx, s.o.Queryable, a.options, a.text, at)
	}
	return s.run(w, r, p, a)
}

func (s *Server) queryRange(w http.ResponseWriter, r *http.Request) *failure {
	p, f := s.form(w, r)
	if f != nil {
		return f
	}
	start, end, step := rangeOf(p)
	a := newAsk(p)
	a.make = func(ctx context.Context, a *ask) (promql.Query, error) {
		return s.o.Engine.NewRangeQuery(ctx, s.o.Queryable, a.options, a.text, start, end, step)
	}
	return s.run(w, r, p, a)
}

func rangeOf(p *params) (start, end time.Time, step time.Duration) {
	start, end = p.needTime("start"), p.needTime("end")
	step, err := parseDuration(p.Get("step"))
	if err != nil {
		p.fail("step", err)
	}
	switch {
	case p.failure != nil:
	case end.Before(start):
		p.fail("end", errors.New("end timestamp must not be before start time"))
	case step < time.Millisecond: // the engine counts in milliseconds
		p.fail("step", errors.New("zero or negative query resolution step widths are not accepted, a millisecond is the least"))
	case steps(start, end, step) > maxSteps:
		p.failure = badData("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)")
	}
	return start, end, step
}

// steps is right for times that are further apart than a time.Duration reaches.
func steps(start, end time.Time, step time.Duration) float64 {
	return (float64(end.UnixMilli()) - float64(start.UnixMilli())) / float64(step.Milliseconds())
}

func newAsk(p *params) *ask {
	a := &ask{text: p.Get("query"), limit: p.count("limit"), timeout: p.duration("timeout"), stats: p.Get("stats")}
	if p.Get("timeout") != "" && a.timeout <= 0 {
		p.fail("timeout", errors.New("must be positive"))
	}
	a.options = promql.NewPrometheusQueryOpts(a.stats == "all", p.duration("lookback_delta"))
	return a
}

// run computes and answers. The query ends with the request, and after the time that
// the server, or the client, allows.
func (s *Server) run(w http.ResponseWriter, r *http.Request, p *params, a *ask) *failure {
	if p.failure != nil {
		return p.failure
	}
	ctx, leave, f := s.enter(r.Context(), a.timeout)
	if f != nil {
		return f
	}
	defer leave()
	if err := checkExpressions(a.text); err != nil {
		return badParam("query", err)
	}
	query, err := a.make(ctx, a)
	if err != nil {
		return badParam("query", err)
	}
	defer query.Close() // the points are the engine's again
	result := query.Exec(ctx)
	if result.Err != nil {
		return s.gate.failed(result.Err)
	}
	if a.limit == 0 || a.limit > s.o.Limits.Results {
		a.limit = s.o.Limits.Results
	}
	warnings := result.Warnings
	if truncate(result, a.limit) {
		warnings = warnings.Add(errTruncated)
	}
	return writeQuery(w, a, answer{result: result, stats: query.Stats(), warnings: warnings})
}

// enter takes a turn and bounds the time, the waiting included.
func (s *Server) enter(ctx context.Context, timeout time.Duration) (context.Context, func(), *failure) {
	if timeout <= 0 || timeout > s.o.Limits.QueryTime {
		timeout = s.o.Limits.QueryTime
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	leave, f := s.gate.enter(ctx)
	if f != nil {
		cancel()
		return nil, nil, f
	}
	return ctx, func() { leave(); cancel() }, nil
}

// truncate shortens a result and tells whether it did.
func truncate(result *promql.Result, limit int) bool {
	switch v := result.Value.(type) {
	case promql.Matrix:
		if len(v) > limit {
			result.Value = v[:limit]
			return true
		}
	case promql.Vector:
		if len(v) > limit {
			result.Value = v[:limit]
			return true
		}
	}
	return false
}

type answer struct {
	result   *promql.Result
	stats    *stats.Statistics
	warnings annotations.Annotations
}

func writeQuery(w http.ResponseWriter, a *ask, got answer) *failure {
	out := newStream(w)
	w.Header().Set("Content-Type", "application/json")
	out.raw(`{"status":"success","data":{"resultType":"` + string(got.result.Value.Type()) + `","result":`)
	if err := out.value(got.result.Value); err != nil {
		return internal(err)
	}
	if a.stats != "" {
		text, err := json.Marshal(stats.NewQueryStats(got.stats))
		if err != nil {
			// The head may be on its way: cut the answer off, so that nobody takes it for whole.
			panic(http.ErrAbortHandler)
		}
		out.raw(`,"stats":`)
		out.buf = append(out.buf, text...)
	}
	out.raw("}")
	out.end(a.text, got.warnings)
	return nil
}

// end writes what follows the data of an answer of /api/v1. The query gives positions
// to the notes.
func (s *stream) end(query string, notes annotations.Annotations) {
	warnings, infos := notes.AsStrings(query, maxNotes, maxNotes)
	s.notes("warnings", warnings)
	s.notes("infos", infos)
	s.raw("}")
	s.flush()
}

func (s *stream) notes(name string, texts []string) {
	if len(texts) == 0 {
		return
	}
	s.raw(`,"` + name + `":`)
	s.strings(texts)
}

// strings writes a list as encoding/json does, and Prometheus outside of labels.
func (s *stream) strings(texts []string) {
	s.raw("[")
	for i, text := range texts {
		if i > 0 {
			s.raw(",")
		}
		quoted, err := json.Marshal(text)
		if err != nil { // a string cannot fail
			panic(err)
		}
		s.buf = append(s.buf, quoted...)
		if !s.more() {
			return
		}
	}
	s.raw("]")
}

func (s *Server) formatQuery(w http.ResponseWriter, r *http.Request) *failure {
	p, f := s.form(w, r)
	if f != nil {
		return f
	}
	_, leave, f := s.enter(r.Context(), 0)
	if f != nil {
		return f
	}
	defer leave()
	text := p.Get("query")
	if err := checkExpressions(text); err != nil {
		return badParam("query", err)
	}
	expr, err := s.parser.ParseExpr(text)
	if err != nil {
		return badParam("query", err)
	}
	return writeData(w, expr.Pretty(0))
}
