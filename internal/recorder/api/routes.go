package api

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// endpoint answers, or returns why not before it has written anything.
type endpoint func(http.ResponseWriter, *http.Request) *failure

// methods maps HTTP methods to endpoints. HEAD is GET without the body.
type methods map[string]endpoint

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	route := func(path string, m methods) { mux.Handle(path, s.endpoints(m)) }
	both := func(e endpoint) methods { return methods{http.MethodGet: e, http.MethodPost: e} }
	get := func(e endpoint) methods { return methods{http.MethodGet: e} }

	if s.o.Engine != nil {
		route("/api/v1/query", both(s.query))
		route("/api/v1/query_range", both(s.queryRange))
		route("/api/v1/query_exemplars", both(s.exemplars))
		route("/api/v1/format_query", both(s.formatQuery))
		route("/api/v1/series", both(s.series))
		route("/api/v1/labels", both(s.labelNames))
		route("/api/v1/label/{name}/values", get(s.labelValues))
		route("/api/v1/metadata", get(s.metadata))
		route("/api/v1/rules", get(s.rules))
		route("/api/v1/alerts", get(s.alerts))
	}
	route("/api/v1/status/buildinfo", get(s.buildInfo))

	route("/api/status", get(s.status))
	route("/api/agent", get(s.agent))
	route("/api/entities", get(s.entities))
	route("/api/entities/{id}", get(s.entity))
	route("/api/events", get(s.events))
	route("/api/state", get(s.stateFiles))
	route("/api/state/{path...}", get(s.stateFile))
	s.captureRoutes(route)
	route("/api/login", methods{http.MethodPost: s.login})
	route("/api/logout", methods{http.MethodPost: s.logout})
	mux.Handle("/api/live", s.plain(get(s.live)))
	mux.Handle("/api/captures/{id}/download", s.plain(get(s.download)))
	mux.Handle("/api/", s.endpoints(methods{}))
	if s.o.Web != nil {
		mux.Handle("/", s.o.Web)
	}
	return mux
}

func (s *Server) captureRoutes(route func(string, methods)) {
	create := methods{http.MethodGet: s.captures, http.MethodPost: s.change(s.startCapture)}
	route("/api/captures", create)
	route("/api/capture", methods{http.MethodPost: create[http.MethodPost]})
	route("/api/captures/{id}", methods{http.MethodGet: s.capture, http.MethodDelete: s.change(s.deleteCapture)})
	route("/api/captures/{id}/pin", methods{
		http.MethodPut:    s.change(s.pin(true)),
		http.MethodDelete: s.change(s.pin(false)),
	})
}

// change guards what is not only reading.
func (s *Server) change(e endpoint) endpoint {
	return func(w http.ResponseWriter, r *http.Request) *failure {
		if s.o.Opened != nil {
			return &failure{http.StatusForbidden, "read_only", errors.New("this is an opened capture: nothing can be changed")}
		}
		return e(w, r)
	}
}

// endpoints answers packed where the client likes that. The answer has to be read in
// the time that a query has: it is in memory until then, and a query keeps its turn.
func (s *Server) endpoints(m methods) http.Handler {
	plain := s.plain(m)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if paced, ok := w.(*pacedWriter); ok {
			paced.whole = s.o.Limits.QueryTime
		}
		w.Header().Add("Vary", "Accept-Encoding")
		if !acceptsGzip(r) {
			plain.ServeHTTP(w, r)
			return
		}
		zip := &zipWriter{ResponseWriter: w, pool: s.zips}
		plain.ServeHTTP(zip, r)
		zip.finish()
	})
}

func (s *Server) plain(m methods) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if f := m.serve(w, r); f != nil {
			f.write(w)
		}
	})
}

func (m methods) serve(w http.ResponseWriter, r *http.Request) *failure {
	if len(m) == 0 {
		return notFound("there is no " + r.URL.Path)
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	serve, ok := m[method]
	if !ok {
		allowed := strings.Join(slices.Sorted(maps.Keys(m)), ", ")
		w.Header().Set("Allow", allowed)
		return &failure{http.StatusMethodNotAllowed, "method_not_allowed", errors.New("allowed: " + allowed)}
	}
	return serve(w, r)
}

// form reads the parameters of the address and, in a POST, of the body.
func (s *Server) form(w http.ResponseWriter, r *http.Request) (*params, *failure) {
	if f := unpacked(r); f != nil {
		return nil, f
	}
	r.Body = http.MaxBytesReader(w, r.Body, int64(s.o.Limits.BodyBytes))
	if err := r.ParseForm(); err != nil {
		return nil, bodyFailure(err)
	}
	s.bodyTaken(w, r)
	return &params{Values: r.Form}, nil
}

// unpacked refuses bodies whose size says nothing about what comes out of them.
func unpacked(r *http.Request) *failure {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return &failure{http.StatusUnsupportedMediaType, "bad_data", errors.New("the body must not be packed")}
	}
	return nil
}

// maxJSON is twice what a capture of maxList containers is asked for with. It is held
// as a whole, also for those who have no token yet and log in.
const maxJSON = 256 << 10

// body reads JSON into v. Only application/json is taken: a form of another site
// cannot send that.
func (s *Server) body(w http.ResponseWriter, r *http.Request, v any) *failure {
	if f := unpacked(r); f != nil {
		return f
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return &failure{http.StatusUnsupportedMediaType, "bad_data", errors.New("the body must be application/json")}
	}
	most := min(maxJSON, s.o.Limits.BodyBytes)
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(most)))
	if err != nil {
		return bodyFailure(err)
	}
	s.bodyTaken(w, r)
	if err := json.Unmarshal(text, v); err != nil {
		return badData("parse the body: %w", err)
	}
	return nil
}

// bodyTaken moves the deadline for the body behind the end of any query. Left alone it
// would pass while the query runs, and end it: net/http watches the connection for the
// client's leaving. What of the body is not read is still bounded in time.
func (s *Server) bodyTaken(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		until := time.Now().Add(s.o.Limits.QueryTime + s.o.Limits.Stall)
		_ = http.NewResponseController(w).SetReadDeadline(until) // see pacedWriter.deadline
	}
}

func startData(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "application/json")
	out := newStream(w)
	out.raw(`{"status":"success","data":`)
	return out
}

// writeData answers as /api/v1 does.
func writeData(w http.ResponseWriter, data any) *failure {
	text, err := json.Marshal(data)
	if err != nil {
		return internal(err)
	}
	out := startData(w)
	out.buf = append(out.buf, text...)
	out.raw("}")
	out.flush()
	return nil
}

// writeJSON answers as everything else does: without an envelope.
func writeJSON(w http.ResponseWriter, code int, data any) *failure {
	text, err := json.Marshal(data)
	if err != nil {
		return internal(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(text) // who left does not read it
	return nil
}
