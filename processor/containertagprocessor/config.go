package containertagprocessor

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/selection"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/statictags"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

// Config is the configuration of the container_tag processor.
type Config struct {
	Sources `mapstructure:",squash"`

	tags.Options `mapstructure:",squash"`

	// Include and Exclude select containers; the data of the others is dropped.
	Include []selection.Rule `mapstructure:"include"`
	Exclude []selection.Rule `mapstructure:"exclude"`
	// Unknown is what becomes of data of a container that no source knows while
	// there are rules of selection: pass or drop.
	Unknown string `mapstructure:"unknown"`

	// Override lets tags replace what the data says already.
	Override bool `mapstructure:"override"`
	// Wait is how long metrics and logs of a new container wait for its tags.
	Wait time.Duration `mapstructure:"wait"`
	// PeerAddress: data that name no container belong to the one from whose
	// address they were sent.
	PeerAddress bool `mapstructure:"peer_address"`
}

// Sources is the part of the configuration that says whom to ask. Processors
// with equal sources share what these say.
type Sources struct {
	// RootPath is where the host's root directory is, "/" on the host itself.
	RootPath string `mapstructure:"root_path"`

	// The sources.

	Docker     DockerConfig  `mapstructure:"docker"`
	Podman     SocketConfig  `mapstructure:"podman"`
	Containerd SocketConfig  `mapstructure:"containerd"`
	CRIO       SocketConfig  `mapstructure:"crio"`
	Kubelet    KubeletConfig `mapstructure:"kubelet"`
	ECS        ECSConfig     `mapstructure:"ecs"`
	// Cloud asks the metadata address of the cloud for the region, the instance, ...
	Cloud SwitchConfig `mapstructure:"cloud"`
	// Recognition is what the receiver discovery has recognised, where it looks at
	// the same root.
	Recognition RecognitionConfig `mapstructure:"recognition"`
	// HostName replaces what the host calls itself.
	HostName string `mapstructure:"host_name"`
	// HostTags are added to all data of this host. HostTagsFile is a YAML file
	// with more of them, read again when it changes.
	HostTags     map[string]string `mapstructure:"host_tags"`
	HostTagsFile string            `mapstructure:"host_tags_file"`
}

// SwitchConfig switches a source on.
type SwitchConfig struct {
	Enabled bool `mapstructure:"enabled"`
}

// RecognitionConfig is about what containers were recognised as.
type RecognitionConfig struct {
	Enabled bool `mapstructure:"enabled"`
	// Evidence adds how sure that is, and what it was seen by.
	Evidence bool `mapstructure:"evidence"`
}

// DockerConfig is about the Docker engine.
type DockerConfig struct {
	Enabled bool `mapstructure:"enabled"`
	// Endpoint is the engine's socket; empty means docker_filter's, if that
	// extension runs, else unix:///var/run/docker.sock.
	Endpoint string `mapstructure:"endpoint"`
}

// SocketConfig is a source with an address; empty switches it off.
type SocketConfig struct {
	// Endpoint is a socket, such as unix:///run/containerd/containerd.sock.
	Endpoint string `mapstructure:"endpoint"`
}

// KubeletConfig is about the kubelet's list of pods.
type KubeletConfig struct {
	// Endpoint is https://host:10250 or http://host:10255; empty is off.
	Endpoint string `mapstructure:"endpoint"`
	// TokenFile holds the bearer token, CAFile the kubelet's certificate
	// authority.
	TokenFile string `mapstructure:"token_file"`
	CAFile    string `mapstructure:"ca_file"`
	// InsecureSkipVerify takes any certificate for the kubelet's.
	InsecureSkipVerify bool `mapstructure:"insecure_skip_verify"`
}

// ECSConfig is about Amazon ECS.
type ECSConfig struct {
	Enabled bool `mapstructure:"enabled"`
	// Endpoint is the agent's introspection address.
	Endpoint string `mapstructure:"endpoint"`
}

// What may become of the data of unknown containers.
const (
	unknownPass = "pass"
	unknownDrop = "drop"
)

// defaultWait is longer than an engine under load takes to answer.
const defaultWait = 500 * time.Millisecond

func createDefaultConfig() component.Config {
	return &Config{
		Sources: Sources{
			RootPath:    "/",
			Docker:      DockerConfig{Enabled: true},
			Kubelet:     KubeletConfig{TokenFile: "/var/run/secrets/kubernetes.io/serviceaccount/token"},
			ECS:         ECSConfig{Endpoint: "http://localhost:51678"},
			Recognition: RecognitionConfig{Enabled: true},
		},
		Options: tags.Options{
			Cardinality: tags.High, MaxAttributes: tags.DefaultMaxAttributes, MaxValueLength: tags.DefaultMaxValueLength,
		},
		Unknown: unknownPass,
		Wait:    defaultWait,
	}
}

// Validate checks the configuration before anything is started.
func (c *Config) Validate() error {
	var errs []error
	if _, err := tags.New(c.Options); err != nil {
		errs = append(errs, err)
	}
	if _, err := selection.New(c.Include, c.Exclude); err != nil {
		errs = append(errs, err)
	}
	if c.Unknown != unknownPass && c.Unknown != unknownDrop {
		errs = append(errs, fmt.Errorf("unknown: %q is neither %s nor %s", c.Unknown, unknownPass, unknownDrop))
	}
	const longestWait = 10 * time.Second // what waits is in memory
	if c.Wait < 0 || c.Wait > longestWait {
		errs = append(errs, fmt.Errorf("wait: %v is not between 0 and %v", c.Wait, longestWait))
	}
	return errors.Join(append(errs, c.Sources.validate())...)
}

// tagOptions are those of the tags, with what stands elsewhere.
func (c *Config) tagOptions() tags.Options {
	o := c.Options
	o.Evidence = c.Recognition.Evidence
	return o
}

func (s *Sources) validate() error {
	var errs []error
	check := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
		}
	}
	check("root_path", hostfs.CheckRoot(s.RootPath))
	if s.Docker.Endpoint != "" {
		check("docker.endpoint", docker.CheckEndpoint(s.Docker.Endpoint))
	}
	if s.Podman.Endpoint != "" {
		check("podman.endpoint", docker.CheckEndpoint(s.Podman.Endpoint))
	}
	check("containerd.endpoint", checkSocket(s.Containerd.Endpoint))
	check("crio.endpoint", checkSocket(s.CRIO.Endpoint))
	check("kubelet.endpoint", checkURL(s.Kubelet.Endpoint))
	if s.ECS.Enabled {
		check("ecs.endpoint", checkURL(s.ECS.Endpoint))
	}
	check("host_tags", statictags.Validate(s.HostTags))
	if s.HostTagsFile != "" && !filepath.IsAbs(s.HostTagsFile) {
		check("host_tags_file", fmt.Errorf("%q is not an absolute path", s.HostTagsFile))
	}
	return errors.Join(errs...)
}

// checkSocket accepts unix:// with an absolute path, and nothing at all.
func checkSocket(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "unix" || u.Host != "" || !filepath.IsAbs(u.Path) {
		return fmt.Errorf("%q is not unix:// with an absolute path", endpoint)
	}
	return nil
}

// checkURL accepts http:// and https:// with a host, and nothing at all.
func checkURL(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fmt.Errorf("%q is not http:// or https:// with a host", endpoint)
	}
	return nil
}
