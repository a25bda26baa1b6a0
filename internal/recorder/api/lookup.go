package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// engineVersion is the Prometheus that the module of go.mod is the library of:
// v0.313.2 belongs to 3.13.2. Grafana decides by it what it may ask.
const engineVersion = "3.13.2"

// lookup has what labels, label values and series have.
type lookup struct {
	from, to time.Time
	sets     [][]*labels.Matcher
	limit    int
}

func (s *Server) lookup(p *params) lookup {
	l := lookup{sets: p.matchers(s.parser), limit: p.count("limit")}
	l.from, l.to = p.span("start", "end", [2]time.Time{minTime, maxTime})
	if l.limit == 0 || l.limit > s.o.Limits.Results {
		l.limit = s.o.Limits.Results
	}
	return l
}

// querier bounds the lookup like a query. Call done.
func (s *Server) querier(ctx context.Context, l lookup) (context.Context, storage.Querier, func(), *failure) {
	ctx, leave, f := s.enter(ctx, 0)
	if f != nil {
		return nil, nil, nil, f
	}
	q, err := s.o.Queryable.Querier(l.from.UnixMilli(), l.to.UnixMilli())
	if err != nil {
		leave()
		return nil, nil, nil, s.gate.failed(err)
	}
	done := func() {
		_ = q.Close() // everything is read
		leave()
	}
	return ctx, q, done, nil
}

func (s *Server) labelNames(w http.ResponseWriter, r *http.Request) *failure {
	return s.names(w, r, func(ctx context.Context, q storage.Querier, n nameQuery) ([]string, annotations.Annotations, error) {
		return q.LabelNames(ctx, n.hints, n.matchers...)
	})
}

func (s *Server) labelValues(w http.ResponseWriter, r *http.Request) *failure {
	name := r.PathValue("name")
	if strings.HasPrefix(name, "U__") { // how a path carries names that are not ASCII
		name = model.UnescapeName(name, model.ValueEncodingEscaping)
	}
	if !model.UTF8Validation.IsValidLabelName(name) {
		return badData("invalid label name: %q", name)
	}
	return s.names(w, r, func(ctx context.Context, q storage.Querier, n nameQuery) ([]string, annotations.Annotations, error) {
		return q.LabelValues(ctx, name, n.hints, n.matchers...)
	})
}

type nameQuery struct {
	hints    *storage.LabelHints
	matchers []*labels.Matcher
}

type namer func(context.Context, storage.Querier, nameQuery) ([]string, annotations.Annotations, error)

func (s *Server) names(w http.ResponseWriter, r *http.Request, ask namer) *failure {
	p, f := s.form(w, r)
	if f != nil {
		return f
	}
	l := s.lookup(p)
	if p.failure != nil {
		return p.failure
	}
	ctx, q, done, f := s.querier(r.Context(), l)
	if f != nil {
		return f
	}
	defer done()
	names, warnings, err := l.ask(ctx, q, ask)
	if err != nil {
		return s.gate.failed(err)
	}
	if len(names) > l.limit {
		names = names[:l.limit]
		warnings = warnings.Add(errTruncated)
	}
	out := startData(w)
	out.strings(names)
	out.end("", warnings)
	return nil
}

// ask returns the sorted union over the sets, or all without one.
func (l lookup) ask(ctx context.Context, q storage.Querier, ask namer) ([]string, annotations.Annotations, error) {
	sets := l.sets
	if len(sets) == 0 {
		sets = [][]*labels.Matcher{nil}
	}
	// One more than asked for tells that there are more.
	hints := &storage.LabelHints{Limit: l.limit + 1}
	var all []string
	var warnings annotations.Annotations
	for _, set := range sets {
		names, notes, err := ask(ctx, q, nameQuery{hints, set})
		if err != nil {
			return nil, nil, err
		}
		// The names may be views of blocks, which are not ours to sort. They are
		// made one list now, so that many sets take no more memory than one.
		all = append(all, names...)
		slices.Sort(all)
		all = slices.Compact(all)
		all = all[:min(len(all), l.limit+1)]
		warnings.Merge(notes)
	}
	return all, warnings, nil
}

func (s *Server) series(w http.ResponseWriter, r *http.Request) *failure {
	p, f := s.form(w, r)
	if f != nil {
		return f
	}
	if len(p.Values["match[]"]) == 0 {
		return badData("no match[] parameter provided")
	}
	l := s.lookup(p)
	if p.failure != nil {
		return p.failure
	}
	ctx, q, done, f := s.querier(r.Context(), l)
	if f != nil {
		return f
	}
	defer done()
	found, warnings, err := l.series(ctx, q)
	if err != nil {
		return s.gate.failed(err)
	}
	out := startData(w)
	out.raw("[")
	for i, set := range found {
		if i > 0 {
			out.raw(",")
		}
		out.buf = appendLabels(out.buf, set)
		if !out.more() {
			return nil
		}
	}
	out.raw("]")
	out.end("", warnings)
	return nil
}

// contextEvery is how many series are read between two looks at the context.
const contextEvery = 128

func (l lookup) series(ctx context.Context, q storage.Querier) ([]labels.Labels, annotations.Annotations, error) {
	hints := &storage.SelectHints{
		Start: l.from.UnixMilli(), End: l.to.UnixMilli(),
		Func:  "series", // tells the storage that no samples are read
		Limit: l.limit + 1,
	}
	sets := make([]storage.SeriesSet, 0, len(l.sets))
	for _, set := range l.sets {
		// Merging needs them sorted.
		sets = append(sets, q.Select(ctx, len(l.sets) > 1, hints, set...))
	}
	all := sets[0]
	if len(sets) > 1 {
		all = storage.NewMergeSeriesSet(sets, 0, storage.ChainedSeriesMerge)
	}
	var found []labels.Labels
	for all.Next() {
		if len(found) == l.limit {
			warnings := all.Warnings()
			return found, warnings.Add(errTruncated), all.Err()
		}
		found = append(found, all.At().Labels())
		if len(found)%contextEvery == 0 && ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
	}
	return found, all.Warnings(), all.Err()
}

func (s *Server) metadata(w http.ResponseWriter, r *http.Request) *failure {
	p, f := s.form(w, r)
	if f != nil {
		return f
	}
	limit, perMetric := p.count("limit"), p.count("limit_per_metric")
	if p.failure != nil {
		return p.failure
	}
	known := map[string][]MetricMetadata{}
	if s.o.Metadata != nil {
		known = shorten(s.o.Metadata.Metadata(p.Get("metric")), limit, perMetric)
	}
	return writeData(w, known)
}

// shorten copies, because the table is the source's. Zero is no limit.
func shorten(all map[string][]MetricMetadata, limit, perMetric int) map[string][]MetricMetadata {
	short := map[string][]MetricMetadata{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if limit > 0 && len(short) == limit {
			break
		}
		list := all[name]
		if perMetric > 0 && len(list) > perMetric {
			list = list[:perMetric]
		}
		short[name] = list
	}
	return short
}

func (s *Server) buildInfo(w http.ResponseWriter, _ *http.Request) *failure {
	return writeData(w, struct {
		Version   string `json:"version"`
		Revision  string `json:"revision"`
		Branch    string `json:"branch"`
		BuildUser string `json:"buildUser"`
		BuildDate string `json:"buildDate"`
		GoVersion string `json:"goVersion"`
	}{Version: engineVersion, GoVersion: runtime.Version()})
}

// There are neither rules nor exemplars. Grafana asks for both; it tolerates an error
// and logs it.

func (s *Server) rules(w http.ResponseWriter, _ *http.Request) *failure {
	return writeData(w, map[string][]string{"groups": {}})
}

func (s *Server) alerts(w http.ResponseWriter, _ *http.Request) *failure {
	return writeData(w, map[string][]string{"alerts": {}})
}

func (s *Server) exemplars(w http.ResponseWriter, r *http.Request) *failure {
	p, f := s.form(w, r)
	if f != nil {
		return f
	}
	if p.Get("query") == "" {
		return badParam("query", errors.New("it is empty"))
	}
	return writeData(w, []string{})
}
