package policy

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/request"
)

// catalog is an engine's containers, by the letter their id is made of.
type catalog map[string]Container

func (c catalog) Get(id string) (Container, bool) {
	found, ok := c[id[:1]]
	return found, ok
}

func someContainers() catalog {
	c := catalog{}
	add := func(letter, project, service string, labels ...string) {
		m := map[string]string{labelComposeProject: project, labelComposeService: service}
		for _, l := range labels {
			m[l] = "true"
		}
		c[letter] = Container{ID: cid(letter), Name: service, Image: service, Labels: m}
	}
	add("a", "shop", "web", "traefik.enable")
	add("b", "shop", "db")
	add("c", "blog", "web", "traefik.enable")
	add("d", "", "lonely")
	c["e"] = Container{ID: cid("e"), Name: "plain", Image: "plain"}
	return c
}

func inContainer(letter string) Identity {
	return Identity{Kind: KindContainer, ContainerID: cid(letter)}
}

func newPolicy(t testing.TB, change func(*Config)) *Policy {
	t.Helper()
	cfg := DefaultConfig()
	change(&cfg)
	p, err := New(cfg, Options{Catalog: someContainers()})
	require.NoError(t, err)
	return p
}

func TestFirstMatchingRule(t *testing.T) {
	p := newPolicy(t, func(c *Config) {
		c.Clients = []ClientConfig{
			{Match: MatchConfig{HostUID: []int64{0}}, Profile: ProfileMonitoring},
			{Match: MatchConfig{ComposeService: "web"}, Profile: ProfileTraefik},
			{Match: MatchConfig{ContainerLabel: map[string]string{"traefik.enable": ""}}, Profile: ProfileLogs},
			{Match: MatchConfig{Image: "*:*"}, Profile: ProfileDatadog},
		}
	})
	f := func(id Identity, rule int, profile string) {
		t.Helper()
		c := p.Client(id)
		require.Equal(t, rule, c.Grant.Rule)
		require.Equal(t, profile, c.Grant.Profile)
		require.Contains(t, p.Grants(), c.Grant)
		require.Equal(t, id, c.Identity)
	}
	f(Identity{Kind: KindHost}, 0, ProfileMonitoring)
	f(Identity{Kind: KindHost, UID: 1000}, -1, ProfileNone) // A102
	f(inContainer("a"), 1, ProfileTraefik)
	f(inContainer("b"), 3, ProfileDatadog)                 // A103: uid 0 there is not uid 0 here
	f(Identity{Reason: ReasonGone}, -1, ProfileNone)       // A104
	f(Identity{Reason: ReasonNamespace}, -1, ProfileNone)  // A105
	f(Identity{Kind: KindAgent, UID: 0}, -1, ProfileAgent) // no rule needed
	require.Len(t, p.Grants(), 6)
	require.Equal(t, "db", p.Client(inContainer("b")).Container.Name)
}

func TestNobodyMatches(t *testing.T) {
	rule := []ClientConfig{{Match: MatchConfig{HostUID: []int64{7}}, Profile: ProfileLogs}}
	f := func(clients []ClientConfig, defaultProfile, want string) {
		t.Helper()
		p := newPolicy(t, func(c *Config) { c.Clients, c.DefaultProfile = clients, defaultProfile })
		for _, id := range []Identity{{}, {Kind: KindHost}, inContainer("a"), inContainer("z")} {
			require.Equal(t, want, p.Client(id).Grant.Profile, id)
		}
		require.Equal(t, ProfileAgent, p.Client(Identity{Kind: KindAgent}).Grant.Profile)
	}
	f(nil, "", ProfileMonitoring)
	f(nil, ProfileNone, ProfileNone)
	f(rule, "", ProfileNone)
	f(rule, ProfileNone, ProfileNone)
	f(rule, ProfileCadvisor, ProfileCadvisor)
}

// A container so new that the catalog lacks it is asked for again.
func TestSettled(t *testing.T) {
	engine := catalog{}
	cfg := DefaultConfig()
	cfg.Clients = []ClientConfig{{Match: MatchConfig{Image: "*"}, Profile: ProfileLogs}}
	p, err := New(cfg, Options{Catalog: engine})
	require.NoError(t, err)
	c := p.Client(inContainer("n"))
	require.False(t, c.Settled())
	require.Nil(t, c.Container)
	require.Equal(t, ProfileNone, c.Grant.Profile)
	engine["n"] = Container{ID: cid("n"), Image: "new"}
	c = p.Client(inContainer("n"))
	require.True(t, c.Settled())
	require.Equal(t, ProfileLogs, c.Grant.Profile)
	require.True(t, p.Client(Identity{Kind: KindHost}).Settled())
	require.True(t, p.Client(Identity{}).Settled())
}

// allOperations are those of the architecture, in its order.
var allOperations = []string{
	"ping", "version", "info", "events",
	"container.list", "container.inspect", "container.stats", "container.logs", "container.top",
	"image.list", "image.inspect", "image.history", "volume.list", "volume.inspect",
	"network.list", "network.inspect", "plugin.list", "plugin.inspect", "system.df",
	"node.list", "node.inspect", "service.list", "service.inspect", "service.logs",
	"task.list", "task.inspect", "task.logs", "swarm.inspect",
}

func TestProfiles(t *testing.T) {
	monitoring := []string{
		"ping", "version", "info", "events", "container.list", "container.inspect", "container.stats",
		"image.list", "image.inspect", "volume.list", "volume.inspect", "network.list", "network.inspect", "plugin.inspect",
	}
	swarm := []string{"node.list", "node.inspect", "service.list", "service.inspect", "task.list", "task.inspect", "swarm.inspect"}
	with := func(more ...string) []string { return slices.Concat(monitoring, more) }
	f := func(rule ClientConfig, sizes bool, want []string) {
		t.Helper()
		rule.Match.HostUID = []int64{0}
		p := newPolicy(t, func(c *Config) { c.Clients = []ClientConfig{rule} })
		c := p.Client(Identity{Kind: KindHost})
		var got []string
		for _, op := range allOperations {
			d := c.Allowed(op, false)
			if d.Allow {
				require.Equal(t, Decision{Allow: true}, d)
				got = append(got, op)
				require.Equal(t, sizes, c.Allowed(op, true).Allow)
				continue
			}
			require.Equal(t, 403, d.Status)
			require.NotEmpty(t, d.Message)
		}
		require.ElementsMatch(t, want, got)
		require.False(t, c.Allowed("container.exec", false).Allow)
		require.False(t, c.Allowed("", false).Allow)
		require.Equal(t, slices.Contains(want, "node.list"), c.Grant.Redaction.Swarm)
	}
	f(ClientConfig{Profile: "monitoring"}, false, monitoring)
	f(ClientConfig{Profile: "traefik"}, false,
		[]string{"ping", "version", "events", "container.list", "container.inspect", "network.list", "network.inspect"})
	f(ClientConfig{Profile: "cadvisor"}, false,
		[]string{"ping", "version", "info", "container.inspect", "image.list", "image.inspect"})
	f(ClientConfig{Profile: "datadog"}, true, with("container.top", "image.history"))
	f(ClientConfig{Profile: "logs"}, false, with("container.logs", "service.logs", "task.logs"))
	f(ClientConfig{Profile: "swarm-read"}, false, with(swarm...))
	f(ClientConfig{Profile: "none"}, false, nil)
	f(ClientConfig{Profile: "none", Allow: []string{"logs", "sizes"}}, false, nil)

	f(ClientConfig{Profile: "monitoring", Allow: []string{"top", "df", "plugins", "sizes", "image-history"}}, true,
		with("container.top", "system.df", "plugin.list", "image.history"))
	f(ClientConfig{Profile: "monitoring", Allow: []string{"swarm"}}, false, with(swarm...))
	// Visibility cannot tell whose services those are.
	f(ClientConfig{Profile: "logs", Visible: VisibleConfig{Label: "x"}}, false, with("container.logs"))
	f(ClientConfig{Profile: "logs", Visible: VisibleConfig{All: true}}, false, with("container.logs", "service.logs", "task.logs"))
}

// The parser's table and the profiles name the same operations and opt-ins.
func TestOperationsAreThoseOfTheParser(t *testing.T) {
	given := map[string]string{}
	for name, ops := range optInOperations {
		for _, op := range ops {
			given[op] = name
		}
	}
	for _, op := range monitoringOperations {
		given[op] = ""
	}
	parsed := map[string]string{}
	for _, spec := range request.Operations() {
		parsed[string(spec.Operation)] = string(spec.OptIn)
	}
	require.Equal(t, parsed, given)
	require.ElementsMatch(t, allOperations, slices.Collect(maps.Keys(parsed)))
}

func TestReasons(t *testing.T) {
	p := newPolicy(t, func(c *Config) {
		c.Clients = []ClientConfig{{Match: MatchConfig{HostUID: []int64{0}}, Profile: ProfileTraefik}}
	})
	root, other := p.Client(Identity{Kind: KindHost}), p.Client(Identity{Kind: KindHost, UID: 1})
	require.Equal(t, Decision{Allow: true}, root.Admit())
	stranger := Decision{Status: 403, Reason: ReasonClient, Message: "this client may not use the Docker API here"}
	require.Equal(t, stranger, other.Admit())
	require.Equal(t, stranger, other.Allowed("ping", false))
	require.Equal(t, Decision{
		Status: 403, Reason: ReasonNotAllowed, Message: "container.top is not allowed for this client (profile traefik)",
	}, root.Allowed("container.top", true))
	require.Equal(t, Decision{
		Status: 403, Reason: ReasonCost, Message: "sizes are not allowed for this client (opt-in sizes)",
	}, root.Allowed("container.list", true))
}

func TestObserve(t *testing.T) {
	p := newPolicy(t, func(c *Config) {
		c.Mode, c.Limits.Burst, c.Limits.Streams = ModeObserve, 1, 1
		c.Clients = []ClientConfig{
			{Match: MatchConfig{ComposeService: "web"}, Profile: ProfileTraefik, Visible: VisibleConfig{Same: SameComposeProject}},
		}
	})
	require.True(t, p.Observing())
	stranger, web := p.Client(Identity{}), p.Client(inContainer("a"))
	for want, d := range map[string]Decision{
		ReasonClient:     stranger.Admit(),
		ReasonNotAllowed: web.Allowed("container.top", false),
		ReasonCost:       web.Allowed("container.list", true),
	} {
		require.True(t, d.Allow && d.WouldDeny && d.Reason == want && d.Status == 403, d)
	}
	require.Equal(t, Decision{Allow: true}, web.Allowed("container.list", false))
	require.Equal(t, Decision{Allow: true}, web.Request())
	d := web.Request()
	require.True(t, d.Allow && d.WouldDeny && d.Reason == ReasonRate, d)
	_, release := web.OpenStream()
	d, release2 := web.OpenStream()
	require.True(t, d.Allow && d.WouldDeny && d.Reason == ReasonStreams, d)
	release()
	release2()
	d, release = web.OpenStream()
	require.Equal(t, Decision{Allow: true}, d, "both were given back")
	release()

	require.Nil(t, web.Visible())
	require.True(t, web.Hidden(cid("c")))
	require.False(t, web.Hidden(cid("b")))
}

func TestVisible(t *testing.T) {
	f := func(v VisibleConfig, client Identity, want string) {
		t.Helper()
		p := newPolicy(t, func(c *Config) {
			c.Clients = []ClientConfig{{Match: MatchConfig{Image: "*"}, Profile: ProfileMonitoring, Visible: v}}
			if client.Kind == KindHost {
				c.Clients[0].Match = MatchConfig{HostUID: []int64{0}}
			}
		})
		c := p.Client(client)
		require.Equal(t, 0, c.Grant.Rule)
		limit, got := c.Visible(), ""
		for _, letter := range []string{"a", "b", "c", "d", "e", "z"} {
			seen := limit == nil || limit.Container(cid(letter))
			require.Equal(t, !seen, c.Hidden(cid(letter)))
			if seen {
				got += letter
			}
		}
		require.Equal(t, want, got)
	}
	f(VisibleConfig{}, inContainer("a"), "abcdez")
	f(VisibleConfig{All: true}, inContainer("a"), "abcdez")
	f(VisibleConfig{Label: "traefik.enable"}, inContainer("b"), "ac")
	f(VisibleConfig{Label: "traefik.enable=true"}, Identity{Kind: KindHost}, "ac")
	f(VisibleConfig{Label: "traefik.enable=false"}, inContainer("a"), "")
	f(VisibleConfig{Label: "traefik.enable="}, inContainer("a"), "")
	f(VisibleConfig{Label: labelComposeProject + "="}, inContainer("a"), "d")
	f(VisibleConfig{Same: SameComposeProject}, inContainer("a"), "ab")
	f(VisibleConfig{Same: SameComposeProject}, inContainer("c"), "c")
	f(VisibleConfig{Same: SameComposeProject}, inContainer("d"), "")
	f(VisibleConfig{Same: SameComposeProject}, inContainer("e"), "")
}

func TestSameAsNobody(t *testing.T) {
	p := newPolicy(t, func(*Config) {})
	c := &Client{Grant: newGrant(0, ClientConfig{Visible: VisibleConfig{Same: SameComposeProject}}), policy: p}
	require.True(t, c.Hidden(cid("a")))
}

func TestRedaction(t *testing.T) {
	p := newPolicy(t, func(c *Config) {
		for _, name := range []string{ProfileTraefik, ProfileCadvisor, ProfileMonitoring} {
			c.Clients = append(c.Clients, ClientConfig{Match: MatchConfig{HostUID: []int64{0}}, Profile: name})
		}
		c.Clients[0].EnvAllow = []string{"TZ"}
	})
	grants := p.Grants()
	fallback, agent, traefik, cadvisor, monitoring := grants[0].Redaction, grants[1].Redaction, grants[2].Redaction, grants[3].Redaction, grants[4].Redaction
	require.Equal(t, fallback, monitoring)
	require.Contains(t, monitoring.EnvAllow, "DD_SERVICE")
	require.Contains(t, monitoring.LabelAllow, "com.docker.compose.service")
	require.Contains(t, monitoring.LabelDeny, "*password*")
	require.False(t, monitoring.KeepGraphDriver)
	require.True(t, cadvisor.KeepGraphDriver)
	require.Equal(t, []string{"traefik.*"}, traefik.LabelAllow)
	require.Equal(t, append(slices.Clone(monitoring.EnvAllow), "TZ"), traefik.EnvAllow)
	require.Equal(t, monitoring.EnvAllow, agent.EnvAllow)
	require.Equal(t, append(slices.Clone(monitoring.LabelAllow), "io.opentelemetry.discovery*"), agent.LabelAllow)
}

func TestGeneration(t *testing.T) {
	base := func(c *Config) {
		c.Clients = []ClientConfig{{
			Match:   MatchConfig{ContainerLabel: map[string]string{"a": "1", "b": "2", "c": "3"}},
			Profile: ProfileLogs,
		}}
	}
	first := newPolicy(t, base).Generation()
	for range 10 {
		require.Equal(t, first, newPolicy(t, base).Generation())
	}
	require.NotEqual(t, first, newPolicy(t, func(c *Config) { base(c); c.Clients[0].Match.ContainerLabel["a"] = "2" }).Generation())
	require.NotEqual(t, first, newPolicy(t, func(c *Config) { base(c); c.Limits.Burst++ }).Generation())
}

func TestNewRefusesWhatIsInvalid(t *testing.T) {
	_, err := New(Config{}, Options{Now: time.Now})
	require.ErrorContains(t, err, "mode: unknown value")
}
