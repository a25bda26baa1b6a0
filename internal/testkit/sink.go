package testkit

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // what exporters use by default
	"google.golang.org/grpc/status"
)

// maxMessage is above any batch a test sends; gRPC's default of 4 MiB is not.
const maxMessage = 64 << 20

// Sink is an OTLP/gRPC endpoint on the loopback interface that keeps what it
// is sent. All methods may be called from any goroutine.
type Sink struct {
	address string
	server  *grpc.Server
	served  chan error // the end of Serve

	mu      sync.Mutex // guards all below
	closed  bool
	refused int // requests answered Unavailable
	shut    bool
	metrics []pmetric.Metrics
	logs    []plog.Logs
	traces  []ptrace.Traces
}

// NewSink starts a sink on a free port. It is closed at the end of the test.
func NewSink(t testing.TB) *Sink {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Sink{
		address: listener.Addr().String(),
		server:  grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage)),
		served:  make(chan error, 1),
	}
	pmetricotlp.RegisterGRPCServer(s.server, &metricsSink{sink: s})
	plogotlp.RegisterGRPCServer(s.server, &logsSink{sink: s})
	ptraceotlp.RegisterGRPCServer(s.server, &tracesSink{sink: s})
	go func() { s.served <- s.server.Serve(listener) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close OTLP sink: %v", err)
		}
	})
	return s
}

// Address is host:port, as an OTLP exporter's endpoint takes it. No TLS.
func (s *Sink) Address() string { return s.address }

// Gate closes or opens the sink. While it is closed every request is answered
// Unavailable, which exporters take for "try again".
func (s *Sink) Gate(open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = !open
}

// Refused is the number of requests that met a closed gate.
func (s *Sink) Refused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// Metrics returns the accepted requests so far, oldest first. They are shared
// with later calls: read only.
func (s *Sink) Metrics() []pmetric.Metrics {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.metrics)
}

// Logs is like Metrics, for logs.
func (s *Sink) Logs() []plog.Logs {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.logs)
}

// Traces is like Metrics, for traces.
func (s *Sink) Traces() []ptrace.Traces {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.traces)
}

// Reset forgets what was received; the gate stays as it is.
func (s *Sink) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metrics, s.logs, s.traces, s.refused = nil, nil, nil, 0
}

// Close ends the endpoint and its connections; what was received stays. It may
// be called twice.
func (s *Sink) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if !first {
		return nil
	}
	// Not gracefully: that would wait for clients that keep their connection.
	s.server.Stop()
	err := <-s.served
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil // stopped before the goroutine came to serve
	}
	return err
}

// accept stores one request unless the gate is closed.
func (s *Sink) accept(store func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		s.refused++
		return status.Error(codes.Unavailable, "the gate of the test's sink is closed")
	}
	store()
	return nil
}

// Three types, because the three services have one method of the same name.

type metricsSink struct {
	pmetricotlp.UnimplementedGRPCServer
	sink *Sink
}

func (m *metricsSink) Export(_ context.Context, r pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	return pmetricotlp.NewExportResponse(), m.sink.accept(func() {
		m.sink.metrics = append(m.sink.metrics, r.Metrics())
	})
}

type logsSink struct {
	plogotlp.UnimplementedGRPCServer
	sink *Sink
}

func (l *logsSink) Export(_ context.Context, r plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	return plogotlp.NewExportResponse(), l.sink.accept(func() {
		l.sink.logs = append(l.sink.logs, r.Logs())
	})
}

type tracesSink struct {
	ptraceotlp.UnimplementedGRPCServer
	sink *Sink
}

func (tr *tracesSink) Export(_ context.Context, r ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	return ptraceotlp.NewExportResponse(), tr.sink.accept(func() {
		tr.sink.traces = append(tr.sink.traces, r.Traces())
	})
}
