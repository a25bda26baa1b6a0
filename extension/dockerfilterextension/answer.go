package dockerfilterextension

import (
	"errors"
	"io"
	"net/http"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/project"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/request"
)

// maxAPI is the newest API version that is spoken on either side: the newest that
// the operation table and the field tables were made after.
const maxAPI = "1.56"

// form is how the elements of an answer come.
type form uint8

const (
	oneObject form = iota
	listOfObjects
	rawBytes
)

// answerForm says what the engine's answer is and who makes it ours.
type answerForm struct {
	kind project.Kind
	form form
	// shared answers go to everybody who asks the same within a moment.
	shared bool
}

// formOf has every operation that goes to the engine, but those that have a
// function of their own (ping, events).
func formOf(o request.Operation) answerForm {
	switch o {
	case request.Version:
		return answerForm{kind: project.Version, shared: true}
	case request.Info:
		return answerForm{kind: project.Info, shared: true}
	case request.ContainerList:
		return answerForm{kind: project.ContainerSummary, form: listOfObjects, shared: true}
	case request.ContainerInspect:
		return answerForm{kind: project.ContainerInspect, shared: true}
	case request.ContainerStats:
		return answerForm{kind: project.ContainerStats}
	case request.ContainerLogs, request.ServiceLogs, request.TaskLogs:
		return answerForm{form: rawBytes}
	case request.ContainerTop:
		return answerForm{kind: project.ContainerTop}
	case request.ImageList:
		return answerForm{kind: project.ImageSummary, form: listOfObjects, shared: true}
	case request.ImageInspect:
		return answerForm{kind: project.ImageInspect, shared: true}
	case request.ImageHistory:
		return answerForm{kind: project.ImageHistory, form: listOfObjects, shared: true}
	case request.VolumeList:
		return answerForm{kind: project.VolumeList, shared: true}
	case request.VolumeInspect:
		return answerForm{kind: project.Volume, shared: true}
	case request.NetworkList:
		return answerForm{kind: project.Network, form: listOfObjects, shared: true}
	case request.NetworkInspect:
		return answerForm{kind: project.Network, shared: true}
	}
	return formOfRare(o)
}

// formOfRare has the operations that need an opt-in.
func formOfRare(o request.Operation) answerForm {
	switch o {
	case request.PluginList:
		return answerForm{kind: project.Plugin, form: listOfObjects, shared: true}
	case request.SystemDF:
		return answerForm{kind: project.DiskUsage, shared: true}
	case request.NodeList:
		return answerForm{kind: project.Node, form: listOfObjects, shared: true}
	case request.NodeInspect:
		return answerForm{kind: project.Node, shared: true}
	case request.ServiceList:
		return answerForm{kind: project.Service, form: listOfObjects, shared: true}
	case request.ServiceInspect:
		return answerForm{kind: project.Service, shared: true}
	case request.TaskList:
		return answerForm{kind: project.Task, form: listOfObjects, shared: true}
	case request.TaskInspect:
		return answerForm{kind: project.Task, shared: true}
	default: // request.SwarmInspect
		return answerForm{kind: project.Swarm, shared: true}
	}
}

// answer asks the engine and writes what the client may see of it.
func (x *exchange) answer(ref string) {
	switch x.request.Operation {
	case request.Ping:
		x.ping()
		return
	case request.PluginInspect:
		x.out.message(http.StatusNotFound, notFound(x.request))
		return
	}
	if x.lasts() {
		d, release := x.client.OpenStream()
		defer release()
		if !x.permit(d) {
			return
		}
		x.countStream(1)
		defer x.countStream(-1)
	}
	if x.request.Operation == request.Events {
		x.events()
		return
	}
	view, empty := x.narrow()
	if empty {
		x.out.json([]byte("[]\n"))
		return
	}
	x.ask(ref, view)
}

// lasts reports whether an answer takes long without work for the engine. A sample
// of stats takes it one to two seconds.
func (x *exchange) lasts() bool {
	return x.request.Stream() || x.request.Operation == request.ContainerStats || formOf(x.request.Operation).form == rawBytes
}

// ping answers in the engine's name, if it is there.
func (x *exchange) ping() {
	api, err := x.engine.API(x.ctx)
	if err != nil {
		x.fail(err)
		return
	}
	response, err := x.engine.Shared(x.ctx, engine.Request{Op: string(request.Ping), Method: http.MethodGet, Target: "/_ping", Content: engine.Text})
	if err != nil {
		x.fail(err)
		return
	}
	_ = response.Body.Close()
	version, err := api.Pick("", maxAPI)
	if err != nil {
		x.fail(err)
		return
	}
	h := x.out.Header()
	h.Set("Api-Version", version)
	h.Set("Docker-Experimental", "false")
	if response.Header.OSType == "windows" {
		h.Set("Ostype", "windows")
	} else {
		h.Set("Ostype", "linux")
	}
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	x.out.text("OK")
}

// upstream builds the question from typed parts.
func (x *exchange) upstream(ref string, content engine.Content) (engine.Request, error) {
	api, err := x.engine.API(x.ctx)
	if err != nil {
		return engine.Request{}, err
	}
	version, err := api.Pick(x.request.Version, maxAPI)
	if err != nil {
		return engine.Request{}, err
	}
	method, target := x.request.Upstream(version, ref)
	if target == "" {
		return engine.Request{}, engine.ErrRequest
	}
	return engine.Request{
		Op: string(x.request.Operation), Method: method, Target: target, Content: content,
		Stream: x.request.Stream() || content == engine.Raw, Lasts: x.lasts(),
	}, nil
}

func (x *exchange) ask(ref string, view project.View) {
	how := formOf(x.request.Operation)
	view.Kind = how.kind
	content := engine.JSON
	switch {
	case how.form == rawBytes:
		content = engine.Raw
	case x.request.Stream():
		content = engine.JSONStream
	}
	question, err := x.upstream(ref, content)
	if err != nil {
		x.fail(err)
		return
	}
	ask := x.engine.Do
	if how.shared && !question.Stream {
		ask = x.engine.Shared
	}
	response, err := ask(x.ctx, question)
	if err != nil {
		x.fail(err)
		return
	}
	defer func() { _ = response.Body.Close() }()
	if how.form == rawBytes {
		x.copyRaw(response)
		return
	}
	x.project(response.Body, view, how.form)
}

// project writes an answer field by field. Before the first byte an error can
// still be told; afterwards the connection breaks, so that a part never looks
// like the whole.
func (x *exchange) project(src io.Reader, view project.View, how form) {
	x.out.Header().Set("Content-Type", "application/json")
	run := project.Object
	switch {
	case x.request.Stream():
		run = project.Stream
		x.out.begin()
	case how == listOfObjects:
		run = project.List
	}
	stats, err := run(x.out, src, view)
	x.stats = stats
	switch {
	case err == nil:
	case stats.Written == 0 && !x.out.begun:
		x.fail(err)
	case errors.Is(err, engine.ErrSlow):
		x.decision, x.reason = failed, "slow_client"
		x.out.lastLine("too slow: events were lost; ask again")
	default:
		x.decision, x.reason = failed, "engine"
		x.abort()
	}
}

// copyRaw passes a log on. It is for clients with the opt-in logs only: there is
// nothing in it to leave out.
func (x *exchange) copyRaw(response *engine.Response) {
	contentType := response.Header.ContentType
	if contentType == "" {
		contentType = "application/vnd.docker.raw-stream"
	}
	x.out.Header().Set("Content-Type", contentType)
	x.out.begin()
	buf := make([]byte, 32<<10)
	for {
		n, err := response.Body.Read(buf)
		if n > 0 {
			if _, err := x.out.Write(buf[:n]); err != nil {
				return
			}
			if x.out.FlushError() != nil {
				return
			}
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			x.decision, x.reason = failed, "engine"
			x.abort()
		}
	}
}
