package dockerfilterextension

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/policy"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/request"
)

// decision is what became of a request, for audit and metrics.
type decision string

const (
	allowed   decision = "allow"
	filtered  decision = "filter" // something was left out or rewritten
	denied    decision = "deny"
	wouldDeny decision = "would_deny" // mode observe
	failed    decision = "error"      // the engine or the client, not a rule
)

// abort breaks the connection: what was written is not the whole.
func (x *exchange) abort() { panic(http.ErrAbortHandler) }

// finish counts the request and tells of it.
func (x *exchange) finish() {
	x.out.renew()
	if x.out.status == 0 && x.reason == "" {
		x.decision, x.reason = failed, "internal"
	}
	if x.decision == allowed && (len(x.stats.Redacted) > 0 || x.stats.Hidden > 0) {
		x.decision = filtered
	}
	ctx := context.Background() // the client's may have ended
	x.telemetry.DockerFilterRequests.Add(ctx, 1, metric.WithAttributes(
		attribute.String("operation", string(x.request.Operation)), attribute.String("decision", string(x.decision))))
	for field, n := range x.stats.Redacted {
		x.telemetry.DockerFilterRedactions.Add(ctx, int64(n), metric.WithAttributes(attribute.String("field", field)))
	}
	if x.isAudited() {
		x.log.Info("docker.api.access", x.auditFields()...)
	}
}

func (x *exchange) isAudited() bool {
	switch x.cfg.Audit.Logs {
	case policy.AuditAll:
		return true
	case policy.AuditDenied:
		// Who asks too much must not fill the log with it; the metrics count it.
		return (x.decision == denied || x.decision == wouldDeny) && x.reason != policy.ReasonRate && x.reason != "connections"
	}
	return false
}

func (x *exchange) auditFields() []zap.Field {
	id := x.conn.identity
	redacted := x.stats.Hidden
	for _, n := range x.stats.Redacted {
		redacted += n
	}
	fields := []zap.Field{
		zap.String("decision", string(x.decision)),
		operationField(x.request),
		zap.String("url.path", x.request.Target),
		zap.String("client.kind", id.Kind.String()),
		zap.Int("client.pid", id.PID), zap.Uint32("client.uid", id.UID), zap.Uint32("client.gid", id.GID),
		zap.String("process.executable.name", id.Command),
		zap.String("profile", x.client.Grant.Profile),
		zap.Uint32("policy.generation", x.policy.Generation()),
		zap.Int("http.response.status_code", x.out.status),
		zap.Int("fields_redacted", redacted),
		zap.Int64("bytes", x.out.bytes),
		zap.Duration("duration", time.Since(x.began)),
	}
	for name, value := range map[string]string{
		"reason": x.reason, "client.container.id": id.ContainerID, "container.id": x.target,
		"client.unidentified": id.Reason, "user_agent.original": x.request.UserAgent,
	} {
		if value != "" {
			fields = append(fields, zap.String(name, value))
		}
	}
	if x.client.Container != nil {
		fields = append(fields, zap.String("client.container.name", x.client.Container.Name))
	}
	return fields
}

func operationField(r *request.Request) zap.Field {
	return zap.String("operation", string(r.Operation))
}

func errorField(err error) zap.Field { return zap.Error(err) }

func (x *exchange) countStream(n int64) {
	x.telemetry.DockerFilterStreams.Add(context.Background(), n)
}

// observeUpstream is called for each question to the engine.
func (f *filter) observeUpstream(op string, d time.Duration, _ error) {
	f.telemetry.DockerFilterUpstreamDuration.Record(context.Background(), d.Seconds(),
		metric.WithAttributes(attribute.String("operation", op)))
}
