package policy

import (
	"path"
	"slices"
	"strings"
)

// Labels that Docker Compose sets.
const (
	labelComposeProject = "com.docker.compose.project"
	labelComposeService = "com.docker.compose.service"
)

// matches tells whether all conditions hold. c is the client's container, nil
// if it has none or the engine does not know it.
func (m *MatchConfig) matches(id Identity, c *Container) bool {
	if m.ofHost() {
		return id.Kind == KindHost && anyID(m.HostUID, id.UID) && anyID(m.HostGID, id.GID)
	}
	if id.Kind != KindContainer || c == nil {
		return false
	}
	for name, glob := range m.ContainerLabel {
		value, ok := c.Labels[name]
		if !ok || !matchGlob(glob, value) {
			return false
		}
	}
	if m.ComposeService != "" {
		service, ok := c.Labels[labelComposeService]
		if !ok || !matchGlob(m.ComposeService, service) {
			return false
		}
	}
	return m.Image == "" || matchImage(m.Image, c.Image)
}

func anyID(list []int64, id uint32) bool {
	return len(list) == 0 || slices.Contains(list, int64(id))
}

// matchGlob takes *, ? and [...] as path.Match does: * ends at a slash. The
// empty pattern takes everything.
func matchGlob(glob, s string) bool {
	if glob == "" {
		return true
	}
	ok, err := path.Match(glob, s)
	return ok && err == nil
}

// matchImage compares an image's name as it was given to the engine, with
// digest and without. Pattern and name may leave out what the engine adds.
func matchImage(glob, image string) bool {
	glob = shortImage(glob)
	image = shortImage(image)
	if matchGlob(glob, image) || matchGlob(glob, withTag(image)) {
		return true
	}
	name, _, ok := strings.Cut(image, "@")
	return ok && tagged(name) && matchGlob(glob, name)
}

// shortImage leaves out the registry and the namespace that are Docker's
// defaults: docker.io/library/traefik is traefik.
func shortImage(name string) string {
	for _, registry := range []string{"docker.io/", "index.docker.io/"} {
		if rest, ok := strings.CutPrefix(name, registry); ok {
			return strings.TrimPrefix(rest, "library/")
		}
	}
	return name
}

func withTag(name string) string {
	if strings.Contains(name, "@") || tagged(name) {
		return name
	}
	return name + ":latest"
}

// tagged: a colon before the last slash is the registry's port.
func tagged(name string) bool {
	return strings.Contains(name[strings.LastIndexByte(name, '/')+1:], ":")
}
