package ebpfconntrackreceiver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/nat"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

// Config is the configuration of the ebpf_conntrack receiver.
type Config struct {
	// CollectionInterval is the time between two looks at open connections, and
	// between two batches of metrics.
	CollectionInterval time.Duration `mapstructure:"collection_interval"`
	// RootPath is where the host's root directory is, "/" on the host itself.
	RootPath string `mapstructure:"root_path"`
	// NAT is how translated addresses are resolved: auto, pull, ctnetlink or off.
	NAT string `mapstructure:"nat"`
	// Events says of which connections that end a log record is made: unusual,
	// none or all.
	Events string `mapstructure:"events"`
	// Unusual says which connections are unusual, and how many are told of.
	Unusual UnusualConfig `mapstructure:"unusual"`
	// ProcessEvents makes log records of programs that start and end.
	ProcessEvents bool `mapstructure:"process_events"`
	// ResponseTimes of servers and clients are measured in the kernel: auto (where
	// it can) or off.
	ResponseTimes string `mapstructure:"response_times"`
	// Groups are the names under which addresses outside of this host are counted.
	Groups []GroupConfig `mapstructure:"groups"`
	// ReverseDNS asks for the names of addresses that nobody else knows, for log
	// records.
	ReverseDNS bool `mapstructure:"reverse_dns"`

	Limits LimitsConfig `mapstructure:"limits"`
}

// UnusualConfig is from when on a connection is worth a log record, beside those that
// failed or timed out.
type UnusualConfig struct {
	// Resets are worth one.
	Resets bool `mapstructure:"resets"`
	// Retransmits is a number of segments; 0 is never.
	Retransmits int `mapstructure:"retransmits"`
	// SetupTime and RTT are times; 0 is never.
	SetupTime time.Duration `mapstructure:"setup_time"`
	RTT       time.Duration `mapstructure:"rtt"`
	// PerInterval is how many records of a kind are made in a collection interval,
	// and, in multiples, of a container and of all; 0 is no bound.
	PerInterval int `mapstructure:"per_interval"`
}

// GroupConfig is a named group of addresses.
type GroupConfig struct {
	// Name is what peers are called that have one of the addresses.
	Name string `mapstructure:"name"`
	// Prefixes are the addresses, such as 10.0.0.0/8 or 2001:db8::/32.
	Prefixes []string `mapstructure:"prefixes"`
}

// LimitsConfig bounds what connections may take.
type LimitsConfig struct {
	// RingMiB is the size of the kernel's buffer, a power of two.
	RingMiB int `mapstructure:"ring_mib"`
	// Connections are those that are open at once and remembered.
	Connections int `mapstructure:"connections"`
	// ContainerEdges and Edges are numbers of peers and ports, of one container
	// and of all.
	ContainerEdges int `mapstructure:"container_edges"`
	Edges          int `mapstructure:"edges"`
	// Containers have metrics of their own.
	Containers int `mapstructure:"containers"`
	// Events may wait to be handed on.
	Events int `mapstructure:"events"`
}

const (
	eventsUnusual = "unusual"
	eventsNone    = "none"
	eventsAll     = "all"

	responseTimesAuto = "auto"
	responseTimesOff  = "off"

	// defaultInterval is that of the other receivers.
	defaultInterval = 10 * time.Second
	// maxInterval is half of what the stream and conntrack remember.
	maxInterval = 5 * time.Minute
	// leastEdgeExpiry is when Prometheus calls a series stale.
	leastEdgeExpiry = 5 * time.Minute
	// defaultRetransmits: one or two segments are sent again on any network that
	// is used; three of one connection are felt.
	defaultRetransmits = 3
	// defaultSlow is when a person notices; the first retransmission of a SYN
	// comes after one second (net/ipv4/tcp.h, TCP_TIMEOUT_INIT).
	defaultSlow = time.Second
	// defaultPerInterval is enough to see what is wrong; see perContainer for what
	// it makes of a file.
	defaultPerInterval = 10
	// defaultRingMiB holds 13,000 connections. The kernel counts it twice in the
	// agent's resident memory.
	defaultRingMiB = 2
	// defaultConnections is connstream's.
	defaultConnections = 65_536
	// defaultEvents is what a busy host ends in a second: 500 bytes each, 8 MB, and
	// as much again while they are handed on.
	defaultEvents = 16_384
)

func createDefaultConfig() component.Config {
	d := edges.DefaultLimits()
	return &Config{
		CollectionInterval: defaultInterval,
		RootPath:           "/",
		NAT:                string(nat.ModeAuto),
		Events:             eventsUnusual,
		Unusual: UnusualConfig{
			Resets: true, Retransmits: defaultRetransmits, SetupTime: defaultSlow, RTT: defaultSlow, PerInterval: defaultPerInterval,
		},
		ResponseTimes: responseTimesAuto,
		Limits: LimitsConfig{
			RingMiB: defaultRingMiB, Connections: defaultConnections,
			ContainerEdges: d.ContainerEdges, Edges: d.Edges, Containers: d.Containers, Events: defaultEvents,
		},
	}
}

// Validate checks the configuration before anything is started.
func (c *Config) Validate() error {
	var errs []error
	if err := hostfs.CheckRoot(c.RootPath); err != nil {
		errs = append(errs, fmt.Errorf("root_path: %w", err))
	}
	if c.CollectionInterval < time.Second {
		errs = append(errs, fmt.Errorf("collection_interval: %v is less than a second", c.CollectionInterval))
	}
	if c.CollectionInterval > maxInterval {
		errs = append(errs, fmt.Errorf("collection_interval: %v is more than %v", c.CollectionInterval, maxInterval))
	}
	if _, err := c.groups(); err != nil {
		errs = append(errs, fmt.Errorf("groups: %w", err))
	}
	if c.Unusual.SetupTime < 0 {
		errs = append(errs, fmt.Errorf("unusual.setup_time: %v is negative", c.Unusual.SetupTime))
	}
	if c.Unusual.RTT < 0 {
		errs = append(errs, fmt.Errorf("unusual.rtt: %v is negative", c.Unusual.RTT))
	}
	return errors.Join(append(errs, c.checkWords(), c.checkNumbers())...)
}

func (c *Config) checkWords() error {
	var errs []error
	for _, w := range []struct {
		field, value string
		known        []string
	}{
		{"nat", c.NAT, []string{string(nat.ModeAuto), string(nat.ModePull), string(nat.ModeCtnetlink), string(nat.ModeOff)}},
		{"events", c.Events, []string{eventsUnusual, eventsNone, eventsAll}},
		{"response_times", c.ResponseTimes, []string{responseTimesAuto, responseTimesOff}},
	} {
		if !slices.Contains(w.known, w.value) {
			errs = append(errs, fmt.Errorf("%s: %q is none of %s", w.field, w.value, strings.Join(w.known, ", ")))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) checkNumbers() error {
	var errs []error
	for _, n := range []struct {
		field              string
		value, least, most int
	}{
		{"unusual.retransmits", c.Unusual.Retransmits, 0, 1 << 20},
		{"unusual.per_interval", c.Unusual.PerInterval, 0, 1000},
		{"limits.ring_mib", c.Limits.RingMiB, 1, 512},
		{"limits.connections", c.Limits.Connections, 1024, 1 << 22},
		{"limits.container_edges", c.Limits.ContainerEdges, 1, 1 << 20},
		{"limits.edges", c.Limits.Edges, 1, 1 << 22},
		{"limits.containers", c.Limits.Containers, 1, 1 << 20},
		{"limits.events", c.Limits.Events, 1, 1 << 20},
	} {
		if n.value < n.least || n.value > n.most {
			errs = append(errs, fmt.Errorf("%s: %d is not between %d and %d", n.field, n.value, n.least, n.most))
		}
	}
	if n := c.Limits.RingMiB; n > 0 && n&(n-1) != 0 {
		errs = append(errs, fmt.Errorf("limits.ring_mib: %d is no power of two", n))
	}
	return errors.Join(errs...)
}

// edgeExpiry is how long an edge without a record is kept: longer than two looks at
// it are apart, or one that is open would begin anew at each.
func (c *Config) edgeExpiry() time.Duration {
	return max(leastEdgeExpiry, 3*c.CollectionInterval)
}

// groups reads the configured prefixes; peers.New has the last word on names.
func (c *Config) groups() ([]peers.NamedGroup, error) {
	all := make([]peers.NamedGroup, 0, len(c.Groups))
	for i, g := range c.Groups {
		if g.Name == "" {
			return nil, fmt.Errorf("[%d].name: is empty", i)
		}
		if slices.Contains(peerWords(), g.Name) {
			return nil, fmt.Errorf("[%d].name: %q has a meaning of its own", i, g.Name)
		}
		if len(g.Prefixes) == 0 {
			return nil, fmt.Errorf("[%d].prefixes: %q has none", i, g.Name)
		}
		named := peers.NamedGroup{Name: g.Name}
		for _, text := range g.Prefixes {
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				return nil, fmt.Errorf("[%d].prefixes: %q is not an address range such as 192.0.2.0/24", i, text)
			}
			named.Prefixes = append(named.Prefixes, prefix.Masked())
		}
		all = append(all, named)
	}
	if _, err := peers.New(peers.Options{Groups: all}); err != nil {
		return nil, err
	}
	return all, nil
}
