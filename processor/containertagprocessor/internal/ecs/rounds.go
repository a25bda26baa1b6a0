package ecs

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/fetch"
)

// containers are what one service knows, by id.
type containers map[string]*entity.Container

// service is one of the two that are asked.
type service struct {
	ask func(context.Context) (containers, error)
	// known is its last answer: kept while it does not answer.
	known containers
	// answered says that it has answered at least once. Until then it counts as
	// not there, if the other one is.
	answered bool
}

// rounds asks and tells the sink. It belongs to the goroutine of Run.
type rounds struct {
	source *Source
	sink   entity.Sink
	// endpoint is nil outside of tasks.
	agent, endpoint *service
	// cluster is what the agent says of itself; empty until it has.
	cluster string
	// launchType is that of this host: it has the same for all its tasks.
	launchType string
	told       containers
	up, down   bool
}

func newRounds(s *Source, sink entity.Sink) *rounds {
	r := &rounds{source: s, sink: sink, launchType: s.options.LaunchType, told: make(containers)}
	r.agent = &service{ask: r.askAgent}
	if s.options.MetadataURI != "" {
		r.endpoint = &service{ask: r.askEndpoint}
	}
	return r
}

// next asks all services once and tells what has changed. It returns false if a
// service that matters does not answer.
func (r *rounds) next(ctx context.Context) bool {
	// Taken before the question, so that the answer is newer than the wish.
	wanted := r.source.take()
	err := r.ask(ctx)
	if ctx.Err() != nil {
		return false
	}
	found := r.merged()
	r.tell(found, wanted)
	if err != nil {
		// Whether it is absent is for the next full answer to say.
		r.source.note(missing(wanted, found)...)
		r.isDown(err)
		return false
	}
	for _, id := range missing(wanted, found) {
		r.sink.Absent(sourceName, id)
	}
	r.isUp()
	return true
}

// ask asks each service. It returns an error if none has answered, or if one
// does not that has before.
func (r *rounds) ask(ctx context.Context) error {
	var all, lost []error
	fresh := false
	try := func(s *service) {
		known, err := s.ask(ctx)
		if err == nil {
			s.known, s.answered, fresh = known, true, true
			return
		}
		all = append(all, err)
		if s.answered {
			lost = append(lost, err)
		}
	}
	if r.endpoint != nil {
		try(r.endpoint)
	}
	// On Fargate localhost is the task's, and who listens there is no agent.
	if r.launchType != "fargate" {
		try(r.agent)
	}
	if !fresh {
		return errors.Join(all...)
	}
	return errors.Join(lost...)
}

func (r *rounds) askEndpoint(ctx context.Context) (containers, error) {
	answer, err := r.source.client.Do(ctx, fetch.Request{URL: r.source.options.MetadataURI + "/task"})
	if err != nil {
		return nil, err
	}
	t, err := parseTask(answer.Body)
	if err != nil {
		return nil, err
	}
	if t.launchType != "" {
		r.launchType = t.launchType
	}
	return t.containers(), nil
}

func (r *rounds) askAgent(ctx context.Context) (containers, error) {
	known, err := r.askTasks(ctx)
	if err != nil {
		// The agent that comes back may belong to another cluster.
		r.cluster = ""
	}
	return known, err
}

func (r *rounds) askTasks(ctx context.Context) (containers, error) {
	base := r.source.options.Introspection
	if r.cluster == "" {
		answer, err := r.source.client.Do(ctx, fetch.Request{URL: base + "/v1/metadata"})
		if err != nil {
			return nil, err
		}
		if r.cluster, err = parseAgent(answer.Body); err != nil {
			return nil, err
		}
	}
	answer, err := r.source.client.Do(ctx, fetch.Request{URL: base + "/v1/tasks"})
	if err != nil {
		return nil, err
	}
	tasks, err := parseTasks(answer.Body)
	if err != nil {
		return nil, err
	}
	known := make(containers)
	for _, t := range tasks {
		t.cluster, t.launchType = r.cluster, r.launchType
		maps.Copy(known, t.containers())
	}
	return known, nil
}

// merged is what both services know together.
func (r *rounds) merged() containers {
	all := maps.Clone(r.agent.known)
	if all == nil {
		all = make(containers)
	}
	if r.endpoint != nil {
		maps.Copy(all, r.endpoint.known)
	}
	return all
}

// tell puts what is new, has changed or is wanted, and says what has gone.
func (r *rounds) tell(found containers, wanted map[string]struct{}) {
	for _, id := range slices.Sorted(maps.Keys(found)) {
		_, isWanted := wanted[id]
		if isWanted || !reflect.DeepEqual(r.told[id], found[id]) {
			r.sink.PutContainer(sourceName, found[id])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.told)) {
		if found[id] == nil {
			r.sink.ContainerGone(sourceName, id)
		}
	}
	r.told = found
}

func (r *rounds) isUp() {
	if !r.up {
		r.sink.Up(sourceName)
	}
	r.up, r.down = true, false
}

func (r *rounds) isDown(err error) {
	if !r.down {
		r.sink.Down(sourceName, err)
	}
	r.up, r.down = false, true
}

func missing(wanted map[string]struct{}, found containers) []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(wanted)) {
		if found[id] == nil {
			ids = append(ids, id)
		}
	}
	return ids
}
