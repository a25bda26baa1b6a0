package eventstore

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// SpanEvent is the event name of spans.
const SpanEvent = "span"

// AppendSpans takes each span as one short event at its start, or when it
// arrived if that is more than an hour later. Its body is the name of the span;
// the record has the trace and span ids, and the attributes span.kind,
// span.duration (seconds), span.status, span.status.message and span.parent_id
// where they are known. The attributes, events and links of the span itself are
// not kept.
func (s *Store) AppendSpans(traces ptrace.Traces) Written {
	if traces.SpanCount() == 0 {
		return Written{}
	}
	return s.Append(spanEvents(traces))
}

func spanEvents(traces ptrace.Traces) plog.Logs {
	logs := plog.NewLogs()
	for _, from := range traces.ResourceSpans().All() {
		to := logs.ResourceLogs().AppendEmpty()
		from.Resource().CopyTo(to.Resource())
		to.SetSchemaUrl(from.SchemaUrl())
		for _, scope := range from.ScopeSpans().All() {
			records := to.ScopeLogs().AppendEmpty()
			scope.Scope().CopyTo(records.Scope())
			records.SetSchemaUrl(scope.SchemaUrl())
			for _, span := range scope.Spans().All() {
				describeSpan(span, records.LogRecords().AppendEmpty())
			}
		}
	}
	return logs
}

func describeSpan(span ptrace.Span, r plog.LogRecord) {
	r.SetEventName(SpanEvent)
	r.SetTimestamp(span.StartTimestamp())
	r.SetTraceID(span.TraceID())
	r.SetSpanID(span.SpanID())
	r.Body().SetStr(span.Name())
	r.SetSeverityNumber(plog.SeverityNumberInfo)
	if span.Status().Code() == ptrace.StatusCodeError {
		r.SetSeverityNumber(plog.SeverityNumberError)
	}
	a := r.Attributes()
	a.PutStr("span.kind", span.Kind().String())
	a.PutDouble("span.duration", secondsBetween(span.StartTimestamp(), span.EndTimestamp()))
	if span.Status().Code() != ptrace.StatusCodeUnset {
		a.PutStr("span.status", span.Status().Code().String())
	}
	if text := span.Status().Message(); text != "" {
		a.PutStr("span.status.message", text)
	}
	if id := span.ParentSpanID(); !id.IsEmpty() {
		a.PutStr("span.parent_id", id.String())
	}
}

// secondsBetween is zero for a span that ends before it starts.
func secondsBetween(start, end pcommon.Timestamp) float64 {
	if end <= start {
		return 0
	}
	return float64(end-start) / 1e9
}
