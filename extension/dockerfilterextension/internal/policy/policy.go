package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Container is what rules and visibility need to know of a container.
type Container struct {
	ID     string // in full
	Name   string // without a leading slash
	Image  string // as it was given to the engine
	Labels map[string]string
}

// Catalog knows the containers of the engine. Its methods must be safe for
// concurrent use.
type Catalog interface {
	// Get returns a container by its full id; false if the engine has none, or
	// does not answer.
	Get(id string) (Container, bool)
}

// Visible tells which containers are there for a client. Nil means all.
type Visible interface {
	// Container takes a full id.
	Container(id string) bool
}

// Options are what [New] needs beside the configuration.
type Options struct {
	// Catalog is asked for the containers of clients and of what they ask for.
	Catalog Catalog
	// Now is the clock of the quotas, time.Now if nil.
	Now func() time.Time
}

// Policy is a compiled configuration. It is safe for concurrent use.
type Policy struct {
	observe    bool
	generation uint32
	catalog    Catalog
	quotas     *quotas

	rules []rule
	// aboutContainers: there is a rule that needs to know the client's.
	aboutContainers bool
	fallback        *Grant
	agent           *Grant
}

type rule struct {
	match MatchConfig
	grant *Grant
}

// New compiles a configuration. An invalid one is an error, as of
// [Config.Validate].
func New(cfg Config, o Options) (*Policy, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	generation, err := generationOf(cfg)
	if err != nil {
		return nil, err
	}
	p := &Policy{
		observe:    cfg.Mode == ModeObserve,
		generation: generation,
		catalog:    o.Catalog,
		quotas:     newQuotas(cfg.Limits, o.Now),
		fallback:   newGrant(-1, ClientConfig{Profile: cfg.fallback()}),
		agent:      newGrant(-1, ClientConfig{Profile: ProfileAgent}),
	}
	for i, c := range cfg.Clients {
		p.rules = append(p.rules, rule{match: c.Match, grant: newGrant(i, c)})
		p.aboutContainers = p.aboutContainers || c.Match.ofContainer()
	}
	return p, nil
}

// fallback is the profile where no rule matches. Without rules the mode of the
// socket file is the rule.
func (c *Config) fallback() string {
	switch {
	case c.DefaultProfile != "":
		return c.DefaultProfile
	case len(c.Clients) == 0:
		return ProfileMonitoring
	}
	return ProfileNone
}

func generationOf(cfg Config) (uint32, error) {
	// Maps come out in the order of their keys.
	text, err := json.Marshal(cfg)
	if err != nil {
		return 0, fmt.Errorf("number the policy: %w", err)
	}
	sum := sha256.Sum256(text)
	return binary.BigEndian.Uint32(sum[:4]), nil
}

// Generation numbers the rules for the audit: the first 32 bits of a hash.
// Equal configurations have equal numbers, on every host and after a restart.
func (p *Policy) Generation() uint32 { return p.generation }

// Observing tells whether nothing is refused (mode: observe).
func (p *Policy) Observing() bool { return p.observe }

// Grants lists all there are, so that what depends on them is made once.
func (p *Policy) Grants() []*Grant {
	grants := []*Grant{p.fallback, p.agent}
	for _, r := range p.rules {
		grants = append(grants, r.grant)
	}
	return grants
}

// Agent is the grant of the agent's own process.
func (p *Policy) Agent() *Grant { return p.agent }

// Client says what an identity gets: call it once per connection. If the
// result is not [Client.Settled], call it again with the next request.
func (p *Policy) Client(id Identity) *Client {
	c := &Client{Identity: id, Grant: p.fallback, policy: p, settled: true}
	switch id.Kind {
	case KindAgent:
		c.Grant = p.agent
		return c
	case KindContainer:
		if found, ok := p.catalog.Get(id.ContainerID); ok {
			c.Container = &found
		} else {
			c.settled = false
		}
	}
	for i := range p.rules {
		if r := &p.rules[i]; r.match.matches(id, c.Container) {
			c.Grant = r.grant
			break
		}
	}
	// What is for everybody else may be more than the rule of this container.
	c.undecided = !c.settled && p.aboutContainers
	return c
}

// Client is one identity under the policy. It is safe for concurrent use.
type Client struct {
	// Identity is as given.
	Identity Identity
	// Container is the client's own container, nil if it has none or the
	// catalog does not know it.
	Container *Container
	// Grant is what the first matching rule gives.
	Grant *Grant

	policy  *Policy
	settled bool
	// undecided: a rule may be for it, but its container is not known.
	undecided bool
}

// Settled is false while the client's container is not in the catalog: it may
// be so new that its event is still on the way.
func (c *Client) Settled() bool { return c.settled }

// Decision is the answer to one question about a client. The zero value is a
// refusal.
type Decision struct {
	// Allow tells whether to go on. In observe mode it always does.
	Allow bool
	// WouldDeny: observe mode has let pass what enforce would refuse.
	WouldDeny bool
	// Status and Message are for the answer, set where Allow is false or
	// WouldDeny is true.
	Status  int
	Message string
	// Reason is a stable word for audit and metrics; "" for a plain yes.
	Reason string
	// RetryAfter is for the header of a 429, in whole seconds; else 0.
	RetryAfter int
}

// Reasons of a [Decision].
const (
	ReasonClient     = "client"      // the client may do nothing at all
	ReasonUndecided  = "undecided"   // the engine does not know the client's container
	ReasonNotAllowed = "not_allowed" // not this operation
	ReasonCost       = "cost"        // not with sizes
	ReasonRate       = "rate"        // too many requests
	ReasonStreams    = "streams"     // too many streams
)

// Admit tells whether the client may do anything at all. By the order of
// checks it comes before the table of operations.
func (c *Client) Admit() Decision {
	if c.undecided {
		return c.refuse(Decision{
			Status: http.StatusBadGateway, Reason: ReasonUndecided,
			Message: "the Docker engine does not say which container this client is",
		})
	}
	if len(c.Grant.operations) > 0 {
		return Decision{Allow: true}
	}
	return c.refuse(Decision{
		Status: http.StatusForbidden, Reason: ReasonClient,
		Message: "this client may not use the Docker API here",
	})
}

// Allowed tells whether the client may do an operation, with the sizes of
// containers or without.
func (c *Client) Allowed(operation string, needsSizes bool) Decision {
	if d := c.Admit(); d.Reason != "" {
		return d
	}
	if !c.Grant.operations[operation] {
		return c.refuse(Decision{
			Status: http.StatusForbidden, Reason: ReasonNotAllowed,
			Message: fmt.Sprintf("%s is not allowed for this client (profile %s)", operation, c.Grant.Profile),
		})
	}
	if needsSizes && !c.Grant.Redaction.Sizes {
		return c.refuse(Decision{
			Status: http.StatusForbidden, Reason: ReasonCost,
			Message: "sizes are not allowed for this client (opt-in " + OptInSizes + ")",
		})
	}
	return Decision{Allow: true}
}

func (c *Client) refuse(d Decision) Decision {
	d.Allow, d.WouldDeny = c.policy.observe, c.policy.observe
	return d
}
