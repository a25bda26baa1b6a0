package dockerfilterextension

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/policy"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/project"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/request"
)

// exchange is one request and its answer.
type exchange struct {
	*filter
	ctx     context.Context
	out     *output
	request *request.Request
	conn    *connection
	client  *policy.Client
	began   time.Time

	// For the audit:
	decision decision
	reason   string
	target   string // full id of the container asked for, if it was resolved
	stats    project.Stats
}

// handle answers one request. net/http has seen only what the gate wrote.
func (f *filter) handle(w http.ResponseWriter, r *http.Request) {
	c, ok := r.Context().Value(connectionKey{}).(*connection)
	if !ok {
		http.Error(w, "no connection", http.StatusInternalServerError)
		return
	}
	req, refusal := c.gate.Pop()
	x := &exchange{
		filter: f, ctx: r.Context(), out: newOutput(w), request: req, conn: c,
		client: c.settle(f.policy), began: time.Now(), decision: allowed,
	}
	defer x.finish()
	if req.Close || c.surplus {
		w.Header().Set("Connection", "close")
	}
	x.serve(refusal)
}

// serve goes through the checks in their order: quota, form, client, operation,
// parameters, visibility. The quota comes first, because what is refused costs
// something, too.
func (x *exchange) serve(refusal *request.Refusal) {
	if x.conn.surplus {
		x.deny(http.StatusTooManyRequests, "connections", "too many connections")
		return
	}
	if !x.permit(x.client.Request()) {
		return
	}
	if refusal != nil && refusal.Early {
		x.deny(refusal.Status, string(refusal.Reason), refusal.Message)
		return
	}
	if !x.permit(x.client.Admit()) {
		return
	}
	if x.request.Operation != "" && !x.permit(x.client.Allowed(string(x.request.Operation), x.request.NeedsSizes)) {
		return
	}
	if refusal != nil {
		x.deny(refusal.Status, string(refusal.Reason), refusal.Message)
		return
	}
	ref, err := x.resolve()
	if err != nil {
		x.fail(err)
		return
	}
	x.answer(ref)
}

// permit notes what the policy says, and answers if that is no.
func (x *exchange) permit(d policy.Decision) bool {
	if d.Reason == "" {
		return true
	}
	x.reason = d.Reason
	if d.Allow {
		x.decision = wouldDeny
		return true
	}
	if d.RetryAfter > 0 {
		x.out.Header().Set("Retry-After", strconv.Itoa(d.RetryAfter))
	}
	x.deny(d.Status, d.Reason, d.Message)
	return false
}

// sees is asked while the catalog is being looked through.
func (x *exchange) sees(c engine.Container) bool { return x.client.Sees(policyContainer(c)) }

func (x *exchange) deny(status int, reason, message string) {
	x.decision, x.reason = denied, reason
	x.out.message(status, message)
}

// resolve turns a reference to a container into its full id for a client that
// sees only some, so that a rename between the check and the question cannot mix
// two. Who sees all of them asks the engine as is.
func (x *exchange) resolve() (string, error) {
	ref, visible := x.request.Ref, x.client.Visible()
	if visible == nil || !isAboutContainer(x.request.Operation) {
		return ref, nil
	}
	c, err := x.engine.Catalog().Resolve(x.ctx, ref, x.sees)
	if err != nil {
		if c, err := x.engine.Catalog().Resolve(x.ctx, ref, nil); err == nil {
			x.decision, x.reason, x.target = denied, "hidden", c.ID
		}
		return "", err
	}
	x.target = c.ID
	return c.ID, nil
}

// fail answers for the engine, which has not, or not as it should.
func (x *exchange) fail(err error) {
	var status *engine.StatusError
	var busy *engine.BusyError
	switch {
	case x.ctx.Err() != nil:
		x.decision, x.reason = failed, "client_gone"
		x.abort() // net/http would make an empty answer of it
	case errors.As(err, &busy):
		x.out.Header().Set("Retry-After", strconv.Itoa(int(busy.RetryAfter.Seconds())))
		x.deny(http.StatusTooManyRequests, "busy", "the Docker engine is busy, try again")
		return
	case errors.Is(err, project.ErrHidden):
		x.out.message(http.StatusNotFound, notFound(x.request))
		return
	case errors.As(err, &status):
		if x.reason == "" {
			x.reason = "engine_status"
		}
		x.out.message(status.Status, x.engineMessage(status))
		return
	}
	x.decision, x.reason = failed, "engine"
	message := "the Docker engine does not answer"
	if !errors.Is(err, engine.ErrUnavailable) {
		message = "the Docker engine's answer was not understood"
	}
	x.log.Debug("no answer of the engine to pass on", operationField(x.request), errorField(err))
	x.out.message(http.StatusBadGateway, message)
}

// engineMessage is what a client reads of the engine's own error. What is not
// found it has named itself; other texts may name what it must not see.
func (x *exchange) engineMessage(e *engine.StatusError) string {
	switch {
	case e.Status == http.StatusNotFound:
		return notFound(x.request)
	case x.client.Visible() == nil && e.Status < http.StatusInternalServerError:
		return e.Message
	}
	return "the Docker engine answered " + strconv.Itoa(e.Status) + " " + http.StatusText(e.Status)
}

// notFound is dockerd's text for what is not there, in the words that its
// command line program knows.
func notFound(r *request.Request) string {
	switch r.Operation {
	case request.ContainerInspect, request.ContainerStats, request.ContainerLogs, request.ContainerTop:
		return "No such container: " + r.Ref
	case request.ImageInspect, request.ImageHistory:
		return "No such image: " + r.Ref
	case request.VolumeInspect:
		return "get " + r.Ref + ": no such volume"
	case request.NetworkInspect:
		return "network " + r.Ref + " not found"
	case request.PluginInspect:
		return "plugin " + strconv.Quote(r.Ref) + " not found"
	}
	return "No such object: " + r.Ref
}

func isAboutContainer(o request.Operation) bool {
	switch o {
	case request.ContainerInspect, request.ContainerStats, request.ContainerLogs, request.ContainerTop:
		return true
	}
	return false
}
