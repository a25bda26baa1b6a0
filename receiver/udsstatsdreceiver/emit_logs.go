package udsstatsdreceiver

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/metadata"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/origin"
)

// logsOf makes log records of events and service checks: one resource per origin.
func logsOf(all []record, version string) plog.Logs {
	ld := plog.NewLogs()
	known := map[*origin.Origin]plog.ScopeLogs{}
	for i := range all {
		scope, ok := known[all[i].origin]
		if !ok {
			rl := ld.ResourceLogs().AppendEmpty()
			describe(rl.Resource().Attributes(), all[i].origin)
			scope = rl.ScopeLogs().AppendEmpty()
			scope.Scope().SetName(metadata.ScopeName)
			scope.Scope().SetVersion(version)
			known[all[i].origin] = scope
		}
		all[i].fill(scope.LogRecords().AppendEmpty())
	}
	return ld
}

func (r *record) fill(to plog.LogRecord) {
	to.SetTimestamp(stamp(r.at))
	to.SetObservedTimestamp(stamp(r.seen))
	put := func(key, value string) {
		if value != "" {
			to.Attributes().PutStr(key, value)
		}
	}
	for _, t := range r.tags {
		to.Attributes().PutStr(t.key, t.value)
	}
	put("host.name", r.host)
	if r.check != "" {
		r.fillCheck(to, put)
		return
	}
	to.SetEventName("dogstatsd.event")
	to.Body().SetStr(r.text)
	put("dogstatsd.event.title", r.title)
	put("dogstatsd.event.alert_type", r.alert.String())
	put("dogstatsd.event.priority", r.priority.String())
	put("dogstatsd.event.aggregation_key", r.aggregationKey)
	put("dogstatsd.event.source_type", r.sourceType)
	switch r.alert {
	case dogstatsd.Error:
		severity(to, plog.SeverityNumberError)
	case dogstatsd.Warning:
		severity(to, plog.SeverityNumberWarn)
	default:
		severity(to, plog.SeverityNumberInfo)
	}
}

func (r *record) fillCheck(to plog.LogRecord, put func(key, value string)) {
	to.SetEventName("dogstatsd.service_check")
	to.Body().SetStr(r.message)
	put("dogstatsd.check.name", r.check)
	put("dogstatsd.check.status", r.status.String())
	switch r.status {
	case dogstatsd.StatusOK:
		severity(to, plog.SeverityNumberInfo)
	case dogstatsd.StatusCritical:
		severity(to, plog.SeverityNumberError)
	default:
		severity(to, plog.SeverityNumberWarn)
	}
}

func severity(to plog.LogRecord, n plog.SeverityNumber) {
	to.SetSeverityNumber(n)
	to.SetSeverityText(map[plog.SeverityNumber]string{
		plog.SeverityNumberInfo: "INFO", plog.SeverityNumberWarn: "WARN", plog.SeverityNumberError: "ERROR",
	}[n])
}

func stamp(t time.Time) pcommon.Timestamp { return pcommon.NewTimestampFromTime(t) }
