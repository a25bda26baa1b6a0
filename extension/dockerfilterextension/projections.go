package dockerfilterextension

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/policy"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/project"
	"github.com/tallymanhq/tallyman/internal/docker"
)

var errNotServing = errors.New("the filter has not started")

var _ docker.Filter = (*filter)(nil)

// projections are the compiled redactions of all grants. They are read with
// every answer and changed when a component of this process asks for more.
type projections struct {
	current atomic.Pointer[map[*policy.Grant]*project.Rules]

	mu       sync.Mutex // one change at a time
	agent    *policy.Grant
	agentEnv []string // guarded by mu: what was asked for beyond the grant
}

func (p *projections) of(g *policy.Grant) *project.Rules { return (*p.current.Load())[g] }

func (p *projections) compile(from *policy.Policy) error {
	compiled := map[*policy.Grant]*project.Rules{}
	for _, g := range from.Grants() {
		rules, err := compileRedaction(g.Redaction)
		if err != nil {
			return err
		}
		compiled[g] = rules
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.agent = from.Agent()
	p.current.Store(&compiled)
	return nil
}

func compileRedaction(r policy.Redaction) (*project.Rules, error) {
	return project.Compile(project.Options{
		EnvAllow: r.EnvAllow, LabelAllow: r.LabelAllow, LabelDeny: r.LabelDeny,
		KeepGraphDriver: r.KeepGraphDriver, Swarm: r.Swarm, Sizes: r.Sizes,
	})
}

// allowAgentEnv compiles the agent's redaction again, with more names.
func (p *projections) allowAgentEnv(names []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.agent == nil {
		return fmt.Errorf("allow environment variables: %w", errNotServing)
	}
	wanted := slices.Clone(p.agentEnv)
	for _, name := range names {
		if !slices.Contains(wanted, name) {
			wanted = append(wanted, name)
		}
	}
	redaction := p.agent.Redaction
	redaction.EnvAllow = slices.Concat(redaction.EnvAllow, wanted)
	rules, err := compileRedaction(redaction)
	if err != nil {
		return fmt.Errorf("allow environment variables: %w", err)
	}
	next := maps.Clone(*p.current.Load())
	next[p.agent] = rules
	p.current.Store(&next)
	p.agentEnv = wanted
	return nil
}

// DockerEndpoint implements [docker.Filter].
func (f *filter) DockerEndpoint() string { return f.cfg.Endpoint }

// AllowAgentEnv implements [docker.Filter]. Values that are certainly a secret
// stay hidden whatever their name.
func (f *filter) AllowAgentEnv(names []string) error { return f.rules.allowAgentEnv(names) }
