package udsstatsdreceiver

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
)

// Config is the configuration of the uds_statsd receiver.
type Config struct {
	// Endpoint is the path of the datagram socket, StreamEndpoint that of the
	// stream socket; empty is off.
	Endpoint       string `mapstructure:"endpoint"`
	StreamEndpoint string `mapstructure:"stream_endpoint"`
	// UDPEndpoint is host:port; its senders are unknown. Empty is off.
	UDPEndpoint string `mapstructure:"udp_endpoint"`
	// CreateDirectory makes the directories of the sockets, with the permissions
	// 0755, if they are missing.
	CreateDirectory bool `mapstructure:"create_directory"`
	// SocketPermissions are those of the socket files, in octal: senders need to
	// write.
	SocketPermissions string `mapstructure:"socket_permissions"`
	// QueueDepth is how many datagrams may wait in the kernel.
	QueueDepth int `mapstructure:"queue_depth"`
	// BufferSize is the longest datagram, in bytes.
	BufferSize int `mapstructure:"buffer_size"`

	// AggregationInterval is the time between two flushes.
	AggregationInterval time.Duration `mapstructure:"aggregation_interval"`
	// Temporality of sums and histograms is cumulative or delta.
	Temporality string `mapstructure:"temporality"`
	// TimerUnit is what timers (ms) are handed on in: ms as sent, or s.
	TimerUnit string `mapstructure:"timer_unit"`
	// Expiry is how long a metric is remembered that nobody sends.
	Expiry time.Duration `mapstructure:"expiry"`

	// OriginDetection finds the sender's container.
	OriginDetection bool `mapstructure:"origin_detection"`
	// ClientOrigin says what the senders' own word (c: and e:) counts: off,
	// fallback (where the kernel does not tell), first (for relays).
	ClientOrigin string `mapstructure:"client_origin"`
	// ProcessStream is as in the cgroup receiver, with which it must agree: auto,
	// connector, proc or off.
	ProcessStream string `mapstructure:"process_stream"`
	// RootPath is where the host's root directory is, "/" on the host itself.
	RootPath string `mapstructure:"root_path"`

	// Prefix is put before names, but those that begin with one of PrefixExempt.
	Prefix       string   `mapstructure:"prefix"`
	PrefixExempt []string `mapstructure:"prefix_exempt"`
	// Block are names (* is any text) that are dropped.
	Block []string `mapstructure:"block"`
	// Mappings turn parts of names into tags.
	Mappings []MappingConfig `mapstructure:"mappings"`

	Limits LimitsConfig `mapstructure:"limits"`
}

// MappingConfig is one mapping: web.*.time becomes web.time with a tag.
type MappingConfig struct {
	// Match is a pattern of whole names; * is some characters without a dot.
	Match string `mapstructure:"match"`
	// Name is the new name; $1 is what the first * stood for.
	Name string `mapstructure:"name"`
	// Tags are added; $1 is the same in their values.
	Tags map[string]string `mapstructure:"tags"`
}

// LimitsConfig bounds what senders may take. 0 is no limit for rates, and the
// default for the others.
type LimitsConfig struct {
	// OriginRate and Rate are in messages per second, of one origin and of all.
	OriginRate float64 `mapstructure:"origin_rate"`
	Rate       float64 `mapstructure:"rate"`
	// OriginContexts and Contexts are numbers of different metrics with tags.
	OriginContexts int `mapstructure:"origin_contexts"`
	Contexts       int `mapstructure:"contexts"`
	// MemoryMiB is what the contexts may take, OriginMemoryMiB what those of one
	// origin may; 0 is an eighth of it.
	MemoryMiB       int `mapstructure:"memory_mib"`
	OriginMemoryMiB int `mapstructure:"origin_memory_mib"`
	// Connections bounds those of the stream socket, of one container.
	Connections int `mapstructure:"connections"`
}

const (
	temporalityCumulative = "cumulative"
	temporalityDelta      = "delta"

	timerMilliseconds = "ms"
	timerSeconds      = "s"

	clientOff      = "off"
	clientFallback = "fallback"
	clientFirst    = "first"

	// defaultEndpoint is fixed, so that images and snippets can name it.
	defaultEndpoint = "/run/tallyman/dsd.socket"
	// defaultOriginRate stops a loop and no application that works: a core
	// takes a million datagrams a second (transport's BenchmarkFlood).
	defaultOriginRate  = 200_000
	defaultConnections = 64
	// maxExpiry bounds what senders that are gone take of the memory.
	maxExpiry = 24 * time.Hour
)

func createDefaultConfig() component.Config {
	d := aggregate.DefaultLimits()
	return &Config{
		Endpoint:            defaultEndpoint,
		SocketPermissions:   "0722",
		QueueDepth:          16384,
		BufferSize:          8192,
		AggregationInterval: 10 * time.Second,
		Temporality:         temporalityCumulative,
		TimerUnit:           timerMilliseconds,
		Expiry:              5 * time.Minute,
		OriginDetection:     true,
		ClientOrigin:        clientOff,
		ProcessStream:       string(hostview.ProcessStreamAuto),
		RootPath:            "/",
		Limits: LimitsConfig{
			OriginRate: defaultOriginRate, OriginContexts: d.OriginContexts, Contexts: d.Contexts,
			MemoryMiB: d.Bytes >> 20, Connections: defaultConnections,
		},
	}
}

// Validate checks the configuration before anything is started.
func (c *Config) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf(field+": "+format, args...))
	}
	if c.Endpoint == "" && c.StreamEndpoint == "" && c.UDPEndpoint == "" {
		bad("endpoint", "neither it nor stream_endpoint nor udp_endpoint is set")
	}
	for field, path := range map[string]string{"endpoint": c.Endpoint, "stream_endpoint": c.StreamEndpoint} {
		if path != "" && !filepath.IsAbs(path) {
			bad(field, "%q is not an absolute path", path)
		}
	}
	if c.Endpoint != "" && c.Endpoint == c.StreamEndpoint {
		bad("stream_endpoint", "%q is the endpoint of datagrams", c.StreamEndpoint)
	}
	if c.UDPEndpoint != "" {
		if _, _, err := net.SplitHostPort(c.UDPEndpoint); err != nil {
			bad("udp_endpoint", "%q is not host:port", c.UDPEndpoint)
		}
	}
	if _, err := c.mode(); err != nil {
		bad("socket_permissions", "%q is not an octal number up to 0777", c.SocketPermissions)
	}
	if c.AggregationInterval < time.Second {
		bad("aggregation_interval", "%v is less than a second", c.AggregationInterval)
	}
	if err := hostfs.CheckRoot(c.RootPath); err != nil {
		bad("root_path", "%w", err)
	}
	if err := c.checkPolicy(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, c.checkWords(), c.checkNumbers())...)
}

func (c *Config) checkWords() error {
	var errs []error
	for _, w := range []struct {
		field, value string
		known        []string
	}{
		{"temporality", c.Temporality, []string{temporalityCumulative, temporalityDelta}},
		{"timer_unit", c.TimerUnit, []string{timerMilliseconds, timerSeconds}},
		{"client_origin", c.ClientOrigin, []string{clientOff, clientFallback, clientFirst}},
		{"process_stream", c.ProcessStream, []string{
			string(hostview.ProcessStreamAuto), string(hostview.ProcessStreamConnector),
			string(hostview.ProcessStreamProc), string(hostview.ProcessStreamOff),
		}},
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
		field       string
		value       float64
		least, most float64
	}{
		{"queue_depth", float64(c.QueueDepth), 1, 1 << 20},
		{"buffer_size", float64(c.BufferSize), 512, 64 << 10},
		{"limits.origin_rate", c.Limits.OriginRate, 0, 1e9},
		{"limits.rate", c.Limits.Rate, 0, 1e9},
		{"limits.origin_contexts", float64(c.Limits.OriginContexts), 1, 1 << 24},
		{"limits.contexts", float64(c.Limits.Contexts), 1, 1 << 24},
		{"limits.memory_mib", float64(c.Limits.MemoryMiB), 1, 1 << 16},
		{"limits.origin_memory_mib", float64(c.Limits.OriginMemoryMiB), 0, float64(c.Limits.MemoryMiB)},
		{"limits.connections", float64(c.Limits.Connections), 1, 1 << 16},
	} {
		if n.value < n.least || n.value > n.most {
			errs = append(errs, fmt.Errorf("%s: %s is not between %s and %s", n.field, plain(n.value), plain(n.least), plain(n.most)))
		}
	}
	if c.Expiry < c.AggregationInterval || c.Expiry > maxExpiry {
		errs = append(errs, fmt.Errorf("expiry: %v is not between aggregation_interval (%v) and %v", c.Expiry, c.AggregationInterval, maxExpiry))
	}
	return errors.Join(errs...)
}

// plain writes a number without an exponent.
func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// checkPolicy tells which of the two fields is wrong.
func (c *Config) checkPolicy() error {
	if _, err := aggregate.NewPolicy(aggregate.Rules{Block: c.Block}); err != nil {
		return fmt.Errorf("block: %w", err)
	}
	if _, err := c.policy(); err != nil {
		return fmt.Errorf("mappings: %w", err)
	}
	return nil
}

func (c *Config) mode() (fs.FileMode, error) {
	n, err := strconv.ParseUint(c.SocketPermissions, 8, 32)
	if err == nil && n > 0o777 {
		err = strconv.ErrRange
	}
	return fs.FileMode(n), err
}

func (c *Config) policy() (aggregate.Policy, error) {
	r := aggregate.Rules{Prefix: c.Prefix, Exempt: append([]string{ownNames}, c.PrefixExempt...), Block: c.Block}
	for _, m := range c.Mappings {
		mapping := aggregate.Mapping{Match: m.Match, Name: m.Name}
		for key, value := range m.Tags {
			mapping.Tags = append(mapping.Tags, aggregate.Tag{Key: key, Value: value})
		}
		r.Mappings = append(r.Mappings, mapping)
	}
	return aggregate.NewPolicy(r)
}
