package store

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// What is kept of one container or pod, whatever a source says. No tag has a
// longer value than maxValue by default, and orchestrators set a few dozen labels.
const (
	maxPairs = 512
	maxKey   = 512
	maxValue = 4096
	maxList  = 64
	// maxHint is what a container may ask of discovery (internal/discovery/hints) and
	// one character more: half a configuration would be another one, so all of it is
	// kept, or it can be seen that there is too much of it.
	maxHint = 16<<10 + utf8.UTFMax
)

// hintPrefix begins the keys by which a container asks to be collected from.
const hintPrefix = "io.opentelemetry.discovery"

// room is how long the value of a key may be.
func room(key string) int {
	if strings.HasPrefix(key, hintPrefix) {
		return maxHint
	}
	return maxValue
}

// bounded returns a container without what is too much of it: the same one if
// there is none.
func (s *Store) bounded(c *entity.Container) *entity.Container {
	if len(c.Command) <= maxValue && fits(c.Labels) && fits(c.Env) && len(c.Networks) <= maxList && len(c.Addresses) <= maxList &&
		len(c.Image.Tags) <= maxList && len(c.Image.Digests) <= maxList {
		return c
	}
	s.stats.Cut++
	out := *c
	out.Command = prefix(c.Command, maxValue)
	out.Labels, out.Env = cut(c.Labels), cut(c.Env)
	out.Networks, out.Addresses = head(c.Networks), head(c.Addresses)
	out.Image.Tags, out.Image.Digests = head(c.Image.Tags), head(c.Image.Digests)
	return &out
}

func (s *Store) boundedPod(p *entity.Pod) *entity.Pod {
	if fits(p.Labels) && fits(p.Annotations) {
		return p
	}
	s.stats.Cut++
	out := *p
	out.Labels, out.Annotations = cut(p.Labels), cut(p.Annotations)
	return &out
}

func fits(m map[string]string) bool {
	if len(m) > maxPairs {
		return false
	}
	for k, v := range m {
		if len(k) > maxKey || len(v) > room(k) {
			return false
		}
	}
	return true
}

// cut keeps what orchestrators set and then the first keys in the alphabet, so
// that equal containers keep equal labels. Cloned texts do not hold on to what
// they were cut from.
func cut(m map[string]string) map[string]string {
	out := map[string]string{}
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if x, y := isIdentity(a), isIdentity(b); x != y {
			if x {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, k := range keys {
		if len(out) == maxPairs {
			break
		}
		if len(k) <= maxKey {
			out[strings.Clone(k)] = prefix(m[k], room(k))
		}
	}
	return out
}

// isIdentity tells of keys from which tags are made without being configured, and of
// those that discovery reads.
func isIdentity(key string) bool {
	for _, begin := range []string{
		"com.docker.", "io.kubernetes.", "app.kubernetes.io/", "resource.opentelemetry.io/", "com.amazonaws.ecs.",
		"com.hashicorp.nomad.", "org.opencontainers.image.", "com.datadoghq.", "tags.datadoghq.com/", "ad.datadoghq.com/",
		"io.rancher.", "tallyman.", "service.technology", "OTEL_", "DD_", "NOMAD_", "MESOS_", "MARATHON_",
		hintPrefix, "prometheus.io/",
	} {
		if strings.HasPrefix(key, begin) {
			return true
		}
	}
	return false
}

// prefix cuts between characters.
func prefix(text string, most int) string {
	if len(text) <= most {
		return text
	}
	n := most
	for n > most-utf8.UTFMax && !utf8.RuneStart(text[n]) {
		n--
	}
	return strings.Clone(text[:n])
}

func head[T any](list []T) []T { return slices.Clone(list[:min(len(list), maxList)]) }
