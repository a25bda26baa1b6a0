package flightrecorderexporter

import (
	"context"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/tallymanhq/tallyman/internal/recorder"
)

// signal is what differs between metrics, logs and traces.
type signal[T any] struct {
	name string
	// measure counts the items, and their bytes on the wire.
	measure func(T) (items, size int)
	hand    func(recorder.Sink, T)
}

func metricsSignal() signal[pmetric.Metrics] {
	sizer := &pmetric.ProtoMarshaler{}
	return signal[pmetric.Metrics]{
		name:    "metrics",
		measure: func(md pmetric.Metrics) (items, size int) { return md.DataPointCount(), sizer.MetricsSize(md) },
		hand:    recorder.Sink.Metrics,
	}
}

func logsSignal() signal[plog.Logs] {
	sizer := &plog.ProtoMarshaler{}
	return signal[plog.Logs]{
		name:    "logs",
		measure: func(ld plog.Logs) (items, size int) { return ld.LogRecordCount(), sizer.LogsSize(ld) },
		hand:    recorder.Sink.Logs,
	}
}

func tracesSignal() signal[ptrace.Traces] {
	sizer := &ptrace.ProtoMarshaler{}
	return signal[ptrace.Traces]{
		name:    "traces",
		measure: func(td ptrace.Traces) (items, size int) { return td.SpanCount(), sizer.TracesSize(td) },
		hand:    recorder.Sink.Traces,
	}
}

type metricsExporter struct{ *base[pmetric.Metrics] }

// ConsumeMetrics never waits and has no error.
func (e metricsExporter) ConsumeMetrics(_ context.Context, md pmetric.Metrics) error {
	return e.consume(md)
}

type logsExporter struct{ *base[plog.Logs] }

// ConsumeLogs never waits and has no error.
func (e logsExporter) ConsumeLogs(_ context.Context, ld plog.Logs) error { return e.consume(ld) }

type tracesExporter struct{ *base[ptrace.Traces] }

// ConsumeTraces never waits and has no error.
func (e tracesExporter) ConsumeTraces(_ context.Context, td ptrace.Traces) error {
	return e.consume(td)
}
