package engine

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/imageref"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// sandbox is what the kubelet calls the container that holds a pod's namespaces.
const sandbox = "POD"

// Options say what is asked for.
type Options struct {
	// Name is the configuration key: docker or podman.
	Name string
	// Endpoint is as in [docker.WatcherOptions].
	Endpoint string
	// KeepEnv tells which environment variables are kept; nil keeps none.
	KeepEnv func(name string) bool
}

// Source is the [entity.Source] of one engine.
type Source struct {
	options Options
	watcher *docker.Watcher
}

// New checks the endpoint; nothing is asked before Run.
func New(o Options) (*Source, error) {
	if o.KeepEnv == nil {
		o.KeepEnv = func(string) bool { return false }
	}
	w, err := docker.NewWatcher(docker.WatcherOptions{
		Endpoint: o.Endpoint, Images: true, EventTypes: []string{"container", "network", "image"},
	})
	if err != nil {
		return nil, err
	}
	return &Source{options: o, watcher: w}, nil
}

// Name implements [entity.Source].
func (s *Source) Name() string { return s.options.Name }

// Want implements [entity.Source]. The engine knows no pods.
func (s *Source) Want(id, _ string) {
	if id != "" {
		s.watcher.Want(id)
	}
}

// Run implements [entity.Source].
func (s *Source) Run(ctx context.Context, sink entity.Sink) {
	s.watcher.Run(ctx, &handler{source: s, sink: sink})
}

// handler turns what the watcher tells into what the store understands.
type handler struct {
	source *Source
	sink   entity.Sink
	engine docker.Engine
}

// Connected implements [docker.Handler].
func (h *handler) Connected(e docker.Engine) { h.engine = e }

// Put implements [docker.Handler].
func (h *handler) Put(c *docker.Container) {
	h.sink.PutContainer(h.source.Name(), h.container(c))
}

// Gone implements [docker.Handler].
func (h *handler) Gone(id string) { h.sink.ContainerGone(h.source.Name(), id) }

// Absent implements [docker.Handler].
func (h *handler) Absent(id string) { h.sink.Absent(h.source.Name(), id) }

// Event implements [docker.Handler]: what it means for tags is in the Put
// before it.
func (h *handler) Event(docker.Event) {}

// Synced implements [docker.Handler].
func (h *handler) Synced() { h.sink.Up(h.source.Name()) }

// Disconnected implements [docker.Handler].
func (h *handler) Disconnected(err error) { h.sink.Down(h.source.Name(), err) }

func (h *handler) container(c *docker.Container) *entity.Container {
	return &entity.Container{
		ID: c.ID, Name: c.Name,
		Runtime:        cmp.Or(h.engine.Runtime, "docker"),
		RuntimeVersion: h.engine.Version,
		Image:          imageOf(c),
		Command:        c.Command,
		Labels:         c.Labels,
		Env:            h.env(c.Env),
		Networks:       networksOf(c),
		Addresses:      addressesOf(c),
		Pod:            podOf(c.Labels),
		Created:        c.Created,
	}
}

// podOf reads the labels that the kubelet gives to containers of an engine.
func podOf(labels map[string]string) *entity.PodRef {
	ref := &entity.PodRef{
		UID: labels["io.kubernetes.pod.uid"], Name: labels["io.kubernetes.pod.name"],
		Namespace: labels["io.kubernetes.pod.namespace"], Container: labels["io.kubernetes.container.name"],
	}
	if ref.UID == "" {
		return nil
	}
	if ref.Container == sandbox {
		ref.Container = ""
	}
	return ref
}

// imageOf takes the name from what the container was started with. Tags of the
// same image under other names are not its own; what was started by digest or
// by id alone has those that the image has under that name.
func imageOf(c *docker.Container) entity.Image {
	var own imageref.Ref
	if !isIDOf(c.ImageRef, c.ImageID) {
		own, _ = imageref.Parse(c.ImageRef)
	}
	image := entity.Image{Name: own.Name, ID: c.ImageID, Digests: c.ImageDigests}
	if own.Tag != "" {
		image.Tags = []string{own.Tag}
	}
	for _, text := range c.ImageTags {
		other, _ := imageref.Parse(text)
		if image.Name == "" {
			image.Name = other.Name
		}
		if other.Name == image.Name && other.Tag != "" && !slices.Contains(image.Tags, other.Tag) {
			image.Tags = append(image.Tags, other.Tag)
		}
	}
	slices.Sort(image.Tags)
	return image
}

// isIDOf tells whether somebody has written the beginning of an image's id in
// place of its name.
func isIDOf(ref, imageID string) bool {
	const shortest = 4 // what looks like a name is one
	return len(ref) >= shortest && strings.HasPrefix(strings.TrimPrefix(imageID, "sha256:"), ref)
}

func (h *handler) env(all map[string]string) map[string]string {
	kept := map[string]string{}
	for name, value := range all {
		if h.source.options.KeepEnv(name) {
			kept[name] = value
		}
	}
	return kept
}

func networksOf(c *docker.Container) []string {
	var names []string
	for _, n := range c.Networks {
		names = append(names, n.Name)
	}
	return names
}

func addressesOf(c *docker.Container) []netip.Addr {
	var all []netip.Addr
	for _, n := range c.Networks {
		all = append(all, n.Addresses...)
	}
	return all
}
