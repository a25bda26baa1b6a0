package policy

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
)

// Config is the part of the extension's configuration that is about who may do
// what. Begin with [DefaultConfig].
type Config struct {
	// Mode is enforce, or observe: nothing is refused, what would be is told.
	Mode string `mapstructure:"mode"`
	// DefaultProfile is for whom no rule matches. Empty means none with rules,
	// and monitoring without any.
	DefaultProfile string `mapstructure:"default_profile"`
	// Clients are the rules; the first that matches decides.
	Clients []ClientConfig `mapstructure:"clients"`
	// Limits bound what one client and what all together may ask.
	Limits LimitsConfig `mapstructure:"limits"`
	// Audit chooses the decisions that are logged.
	Audit AuditConfig `mapstructure:"audit"`
}

// ClientConfig is one rule: whom it is for, and what they get.
type ClientConfig struct {
	// Match says whom the rule is for; all its conditions must hold.
	Match MatchConfig `mapstructure:"match"`
	// Profile is one of the built-in profiles.
	Profile string `mapstructure:"profile"`
	// Allow adds opt-ins: logs, top, image-history, sizes, df, plugins, swarm.
	Allow []string `mapstructure:"allow"`
	// Visible limits which containers are there for this client.
	Visible VisibleConfig `mapstructure:"visible"`
	// EnvAllow adds names of environment variables whose values are shown.
	EnvAllow []string `mapstructure:"env_allow"`
}

// MatchConfig are the conditions of a rule. HostUID and HostGID are about
// processes in no container, the others about containers; one rule has either.
type MatchConfig struct {
	// HostUID and HostGID list ids; one of each list given must be the peer's.
	HostUID []int64 `mapstructure:"host_uid"`
	HostGID []int64 `mapstructure:"host_gid"`
	// ContainerLabel maps names of labels to patterns of their values; an
	// empty pattern takes any value.
	ContainerLabel map[string]string `mapstructure:"container_label"`
	// Image is a pattern of the image's name. A name without a tag has the tag
	// latest, and docker.io/library/ is left out.
	Image string `mapstructure:"image"`
	// ComposeService is a pattern of the Compose service's name.
	ComposeService string `mapstructure:"compose_service"`
}

// VisibleConfig limits the containers that a client sees. Only one field may
// be set; none means all, which may also be written as `visible: all`.
type VisibleConfig struct {
	// All sets no limit.
	All bool `mapstructure:"all"`
	// Label is "name=value", or "name" for any value.
	Label string `mapstructure:"label"`
	// Same is compose_project: the containers of the client's own project.
	Same string `mapstructure:"same"`
}

// LimitsConfig are the quotas.
type LimitsConfig struct {
	// RPS is requests per second of one client, Burst how many it may have
	// saved up.
	RPS   float64 `mapstructure:"rps"`
	Burst int     `mapstructure:"burst"`
	// Streams is how many streams one client may hold open.
	Streams int `mapstructure:"streams"`
	// UpstreamConcurrency is how many requests the engine gets at a time, of
	// all clients.
	UpstreamConcurrency int `mapstructure:"upstream_concurrency"`
}

// AuditConfig is about the log of decisions.
type AuditConfig struct {
	// Logs is none, denied or all.
	Logs string `mapstructure:"logs"`
}

// Values of [Config.Mode], [VisibleConfig.Same] and [AuditConfig.Logs].
const (
	ModeEnforce = "enforce"
	ModeObserve = "observe"

	SameComposeProject = "compose_project"

	AuditNone   = "none"
	AuditDenied = "denied"
	AuditAll    = "all"
)

// DefaultConfig has no rules and the limits of docs: 57 containers watched by
// `docker stats` are 58 streams, and a dashboard asks some 10 times a second.
func DefaultConfig() Config {
	return Config{
		Mode:   ModeEnforce,
		Limits: LimitsConfig{RPS: 50, Burst: 100, Streams: 256, UpstreamConcurrency: 16},
		Audit:  AuditConfig{Logs: AuditDenied},
	}
}

// UnmarshalText reads the short form, `visible: all`.
func (v *VisibleConfig) UnmarshalText(text []byte) error {
	if string(text) != "all" {
		return fmt.Errorf("%q is not all (write {label: name=value} or {same: compose_project} for a part)", text)
	}
	*v = VisibleConfig{All: true}
	return nil
}

// UnmarshalText reads the short form, `audit: denied`.
func (a *AuditConfig) UnmarshalText(text []byte) error {
	*a = AuditConfig{Logs: string(text)}
	return nil
}

// Validate checks everything and joins what is wrong. Each error begins with
// the name of the field, such as clients[1].match.host_uid.
func (c *Config) Validate() error {
	errs := []error{
		oneOf("mode", c.Mode, ModeEnforce, ModeObserve),
		oneOf("audit.logs", c.Audit.Logs, AuditNone, AuditDenied, AuditAll),
		c.Limits.validate(),
	}
	if c.DefaultProfile != "" {
		errs = append(errs, checkProfile("default_profile", c.DefaultProfile))
	}
	for i := range c.Clients {
		errs = append(errs, c.Clients[i].validate(fmt.Sprintf("clients[%d]", i)))
	}
	return errors.Join(errs...)
}

func oneOf(field, value string, choice ...string) error {
	if slices.Contains(choice, value) {
		return nil
	}
	return fmt.Errorf("%s: unknown value %q (use %s)", field, value, strings.Join(choice, ", "))
}

// checkProfile refuses the agent's profile: it is for this process alone.
func checkProfile(field, name string) error {
	var names []string
	for _, p := range profiles {
		if p.name != ProfileAgent {
			names = append(names, p.name)
		}
	}
	return oneOf(field, name, names...)
}

func (l LimitsConfig) validate() error {
	var errs []error
	// Written so that NaN is wrong as well.
	if !(l.RPS > 0) || math.IsInf(l.RPS, 0) {
		errs = append(errs, fmt.Errorf("limits.rps: %v is not a number above 0", l.RPS))
	}
	for _, f := range []struct {
		name  string
		value int
	}{{"burst", l.Burst}, {"streams", l.Streams}, {"upstream_concurrency", l.UpstreamConcurrency}} {
		if f.value < 1 {
			errs = append(errs, fmt.Errorf("limits.%s: %d is less than 1", f.name, f.value))
		}
	}
	return errors.Join(errs...)
}

func (c *ClientConfig) validate(field string) error {
	errs := []error{c.Match.validate(field + ".match")}
	if c.Profile == "" {
		errs = append(errs, fmt.Errorf("%s.profile: is missing", field))
	} else {
		errs = append(errs, checkProfile(field+".profile", c.Profile))
	}
	for i, name := range c.Allow {
		errs = append(errs, oneOf(fmt.Sprintf("%s.allow[%d]", field, i), name, optIns[:]...))
	}
	for i, name := range c.EnvAllow {
		if name == "" || strings.ContainsAny(name, "=*?\x00 \t\n") {
			errs = append(errs, fmt.Errorf("%s.env_allow[%d]: %q is not the name of an environment variable", field, i, name))
		}
	}
	return errors.Join(append(errs, c.validateVisible(field+".visible"))...)
}

func (c *ClientConfig) validateVisible(field string) error {
	v := c.Visible
	set := 0
	for _, isSet := range []bool{v.All, v.Label != "", v.Same != ""} {
		if isSet {
			set++
		}
	}
	switch {
	case set > 1:
		return fmt.Errorf("%s: has more than one of all, label and same", field)
	case strings.HasPrefix(v.Label, "="):
		return fmt.Errorf("%s.label: %q has no name before the =", field, v.Label)
	case v.Same != "" && v.Same != SameComposeProject:
		return oneOf(field+".same", v.Same, SameComposeProject)
	case v.Same != "" && c.Match.ofHost():
		return fmt.Errorf("%s.same: a process in no container has no %s", field, v.Same)
	case v.limited() && c.optsIn(OptInSwarm):
		return fmt.Errorf("%s: hides containers only, and opt-in %s shows services, tasks and nodes (leave out one of them)", field, OptInSwarm)
	}
	return nil
}

func (v VisibleConfig) limited() bool { return v.Label != "" || v.Same != "" }

func (c *ClientConfig) optsIn(name string) bool {
	if slices.Contains(c.Allow, name) {
		return true
	}
	p, ok := profileOf(c.Profile)
	return ok && slices.Contains(p.optIns, name)
}

func (m *MatchConfig) ofHost() bool { return len(m.HostUID) > 0 || len(m.HostGID) > 0 }

func (m *MatchConfig) ofContainer() bool {
	return len(m.ContainerLabel) > 0 || m.Image != "" || m.ComposeService != ""
}

func (m *MatchConfig) validate(field string) error {
	errs := []error{
		checkIDs(field+".host_uid", m.HostUID),
		checkIDs(field+".host_gid", m.HostGID),
		checkGlob(field+".image", m.Image),
		checkGlob(field+".compose_service", m.ComposeService),
	}
	for name, glob := range m.ContainerLabel {
		if name == "" {
			errs = append(errs, fmt.Errorf("%s.container_label: a label has no name", field))
		}
		errs = append(errs, checkGlob(fmt.Sprintf("%s.container_label[%s]", field, name), glob))
	}
	switch {
	case !m.ofHost() && !m.ofContainer():
		errs = append(errs, fmt.Errorf("%s: has no condition (default_profile is for everybody else)", field))
	case m.ofHost() && m.ofContainer():
		errs = append(errs, fmt.Errorf("%s: host_uid and host_gid match processes in no container, the other conditions containers (make two rules of it)", field))
	}
	return errors.Join(errs...)
}

// maxID is the highest uid or gid: (uid_t)-1 means "no id" (setresuid(2)).
const maxID = math.MaxUint32 - 1

func checkIDs(field string, ids []int64) error {
	for i, id := range ids {
		if id < 0 || id > maxID {
			return fmt.Errorf("%s[%d]: %d is not an id (0 to %d)", field, i, id, maxID)
		}
	}
	return nil
}

func checkGlob(field, glob string) error {
	if _, err := path.Match(glob, ""); err != nil {
		return fmt.Errorf("%s: %q is not a valid pattern", field, glob)
	}
	return nil
}
