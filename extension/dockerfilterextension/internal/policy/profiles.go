package policy

import (
	"slices"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/project"
)

// Names of the built-in profiles.
const (
	ProfileMonitoring = "monitoring"
	ProfileTraefik    = "traefik"
	ProfileCadvisor   = "cadvisor"
	ProfileDatadog    = "datadog"
	ProfileLogs       = "logs"
	ProfileSwarmRead  = "swarm-read"
	ProfileAgent      = "agent" // for the agent's own process only
	ProfileNone       = "none"
)

// Names of the opt-ins.
const (
	OptInLogs         = "logs"
	OptInTop          = "top"
	OptInImageHistory = "image-history"
	OptInSizes        = "sizes" // allows a parameter, not an operation
	OptInDF           = "df"
	OptInPlugins      = "plugins"
	OptInSwarm        = "swarm"
)

var optIns = [...]string{OptInLogs, OptInTop, OptInImageHistory, OptInSizes, OptInDF, OptInPlugins, OptInSwarm}

// profile is one row of the table below.
type profile struct {
	name       string
	operations []string
	optIns     []string
	labelAllow []string // nil means the default of package project
	// keepGraphDriver shows where the layers of a container are on the host.
	keepGraphDriver bool
}

var profiles = [...]profile{
	{name: ProfileMonitoring, operations: monitoringOperations[:]},
	{
		name: ProfileTraefik,
		operations: []string{
			"ping", "version", "events", "container.list", "container.inspect", "network.list", "network.inspect",
		},
		labelAllow: []string{"traefik.*"},
	},
	{
		name:            ProfileCadvisor,
		operations:      []string{"ping", "version", "info", "container.inspect", "image.list", "image.inspect"},
		keepGraphDriver: true,
	},
	{
		name: ProfileDatadog, operations: monitoringOperations[:],
		optIns: []string{OptInTop, OptInImageHistory, OptInSizes},
	},
	{name: ProfileLogs, operations: monitoringOperations[:], optIns: []string{OptInLogs}},
	{name: ProfileSwarmRead, operations: monitoringOperations[:], optIns: []string{OptInSwarm}},
	{
		name: ProfileAgent, operations: monitoringOperations[:],
		labelAllow: slices.Concat(project.DefaultLabelAllow(), project.DiscoveryLabels()),
	},
	{name: ProfileNone},
}

// plugin.inspect is among them though nobody sees a plugin: `docker inspect`
// of an unknown name ends with it and wants to hear that there is none.
var monitoringOperations = [...]string{
	"ping", "version", "info", "events",
	"container.list", "container.inspect", "container.stats",
	"image.list", "image.inspect",
	"volume.list", "volume.inspect",
	"network.list", "network.inspect",
	"plugin.inspect",
}

// optInOperations are what each opt-in adds to any profile but none.
var optInOperations = map[string][]string{
	OptInLogs:         {"container.logs", "service.logs", "task.logs"},
	OptInTop:          {"container.top"},
	OptInImageHistory: {"image.history"},
	OptInDF:           {"system.df"},
	OptInPlugins:      {"plugin.list"},
	OptInSwarm: {
		"node.list", "node.inspect", "service.list", "service.inspect",
		"task.list", "task.inspect", "swarm.inspect",
	},
}

// notOfContainers are operations about things that visibility, which is a
// choice of containers, says nothing about. Who does not see all containers
// does not get them.
var notOfContainers = [...]string{"service.logs", "task.logs"}

func profileOf(name string) (profile, bool) {
	i := slices.IndexFunc(profiles[:], func(p profile) bool { return p.name == name })
	if i < 0 {
		return profile{}, false
	}
	return profiles[i], true
}

// Redaction is what the projection of answers needs to know about a client.
// The lists are complete: defaults, profile and rule together.
type Redaction struct {
	// EnvAllow are names of environment variables whose values stay.
	EnvAllow []string
	// LabelAllow are patterns (* is any text, dots and slashes as well) of
	// labels whose values stay, LabelDeny those that go. Allow wins.
	LabelAllow, LabelDeny []string
	// KeepGraphDriver keeps GraphDriver.Data, Sizes the sizes of containers;
	// Swarm shows swarm objects and their events.
	KeepGraphDriver, Sizes, Swarm bool
}

// Grant is what a rule gives: compiled once, never changed, shared by all its
// clients. Compare grants by their address.
type Grant struct {
	// Profile is the name of the profile.
	Profile string
	// Rule is the index in clients, -1 for what no rule gives.
	Rule int
	// Redaction is for the projection.
	Redaction Redaction

	operations map[string]bool
	visible    VisibleConfig
}

// newGrant puts profile and rule together. A rule's opt-ins add nothing to the
// profile none: nothing stays nothing.
func newGrant(index int, c ClientConfig) *Grant {
	p, _ := profileOf(c.Profile)
	g := &Grant{
		Profile: c.Profile, Rule: index, operations: map[string]bool{}, visible: c.Visible,
		Redaction: Redaction{
			EnvAllow:        slices.Concat(project.DefaultEnvAllow(), c.EnvAllow),
			LabelAllow:      p.labelAllow,
			LabelDeny:       project.DefaultLabelDeny(),
			KeepGraphDriver: p.keepGraphDriver,
		},
	}
	if p.labelAllow == nil {
		g.Redaction.LabelAllow = project.DefaultLabelAllow()
	}
	if len(p.operations) == 0 {
		return g
	}
	g.add(p.operations)
	for _, name := range slices.Concat(p.optIns, c.Allow) {
		g.add(optInOperations[name])
		g.Redaction.Sizes = g.Redaction.Sizes || name == OptInSizes
		g.Redaction.Swarm = g.Redaction.Swarm || name == OptInSwarm
	}
	if c.Visible.limited() {
		for _, op := range notOfContainers {
			delete(g.operations, op)
		}
	}
	return g
}

func (g *Grant) add(operations []string) {
	for _, op := range operations {
		g.operations[op] = true
	}
}
