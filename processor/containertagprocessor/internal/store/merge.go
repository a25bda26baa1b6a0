package store

import (
	"maps"
	"slices"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// merge puts together what sources say of one container, best first. It returns
// nil if none says anything, and the only one's own value without a copy.
func merge(told []*entity.Container) *entity.Container {
	var out *entity.Container
	copied := false
	for _, c := range told {
		switch {
		case c == nil:
		case out == nil:
			out = c
		default:
			if !copied {
				first := *out
				out, copied = &first, true
			}
			fill(out, c)
		}
	}
	return out
}

// fill sets what is empty in a container from another.
func fill(to, from *entity.Container) {
	text(&to.Name, from.Name)
	text(&to.Runtime, from.Runtime)
	text(&to.RuntimeVersion, from.RuntimeVersion)
	text(&to.Command, from.Command)
	text(&to.Image.Name, from.Image.Name)
	text(&to.Image.ID, from.Image.ID)
	list(&to.Image.Tags, from.Image.Tags)
	list(&to.Image.Digests, from.Image.Digests)
	list(&to.Networks, from.Networks)
	list(&to.Addresses, from.Addresses)
	to.Labels = union(to.Labels, from.Labels)
	to.Env = union(to.Env, from.Env)
	if to.Pod == nil {
		to.Pod = from.Pod
	}
	if to.Task == nil {
		to.Task = from.Task
	}
	if to.Created.IsZero() {
		to.Created = from.Created
	}
}

// withTechnology is a container with what it was recognised as.
func withTechnology(c *entity.Container, t *entity.Technology) *entity.Container {
	if c == nil || t == nil {
		return c
	}
	out := *c
	out.Technology = t
	return &out
}

func text(to *string, from string) {
	if *to == "" {
		*to = from
	}
}

func list[T any](to *[]T, from []T) {
	if len(*to) == 0 {
		*to = from
	}
}

// union prefers the first map. It changes neither.
func union(first, second map[string]string) map[string]string {
	switch {
	case len(first) == 0:
		return second
	case len(second) == 0:
		return first
	}
	out := maps.Clone(second)
	maps.Copy(out, first)
	return out
}

// mergePods does for pods what merge does for containers.
func mergePods(told []*entity.Pod) *entity.Pod {
	var out *entity.Pod
	for _, p := range told {
		switch {
		case p == nil:
		case out == nil:
			out = p
		default:
			both := *out
			fillPod(&both, p)
			out = &both
		}
	}
	return out
}

// mergedPod is mergePods with labels and annotations as they are now, where somebody
// knows: they may be changed and taken away while the pod runs.
func (s *Store) mergedPod(told []*entity.Pod) *entity.Pod {
	all := mergePods(told)
	place := slices.Index(s.options.Containers, s.options.Current)
	if place < 0 || told[place] == nil || told[place] == all {
		return all
	}
	out := *all
	out.Labels, out.Annotations = told[place].Labels, told[place].Annotations
	return &out
}

func fillPod(to, from *entity.Pod) {
	text(&to.Name, from.Name)
	text(&to.Namespace, from.Namespace)
	text(&to.Node, from.Node)
	to.Labels = union(to.Labels, from.Labels)
	to.Annotations = union(to.Annotations, from.Annotations)
	list(&to.Addresses, from.Addresses)
	if to.Owners == (entity.Owners{}) {
		to.Owners = from.Owners
	}
}
