package cri

import (
	"slices"

	"github.com/distribution/reference"

	"github.com/tallymanhq/tallyman/internal/imageref"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// imageOf says what a container was made from. Its name is taken from the
// first of these that is a name: what the pod's specification says, what the
// container was made with, what its status says, what the image is tagged with.
// The kubelet makes containers with the image's id; newer ones say beside it what
// the specification said.
func imageOf(c *container) entity.Image {
	facts := c.details.facts
	image := entity.Image{Digests: facts.digests, ID: facts.id}
	if image.ID == "" {
		image.ID = firstID(c.raw.GetImageId(), c.details.imageID, c.raw.GetImageRef())
	}
	candidates := []string{c.raw.GetImage().GetUserSpecifiedImage(), c.raw.GetImage().GetImage(), c.details.image}
	candidates = append(candidates, facts.tags...)
	candidates = append(candidates, facts.digests...)
	for _, text := range candidates {
		ref, ok := imageref.Parse(text)
		if !ok {
			continue
		}
		image.Name = ref.Name
		image.Tags = tagsOf(ref, facts.tags)
		break
	}
	return image
}

// tagsOf are the reference's own and, of those the image has today, the ones
// under the same name. A reference by digest alone names no tag on purpose.
func tagsOf(r imageref.Ref, repoTags []string) []string {
	var tags []string
	if r.Tag != "" {
		tags = append(tags, r.Tag)
	}
	if r.Digest != "" {
		return tags
	}
	for _, text := range repoTags {
		other, ok := imageref.Parse(text)
		if ok && other.Tag != "" && sameRepository(r.Name, other.Name) && !slices.Contains(tags, other.Tag) {
			tags = append(tags, other.Tag)
		}
	}
	return tags
}

// sameRepository compares names, of which runtimes complete the short ones:
// nginx is docker.io/library/nginx.
func sameRepository(a, b string) bool {
	completeA, errA := reference.ParseNormalizedNamed(a)
	completeB, errB := reference.ParseNormalizedNamed(b)
	return errA == nil && errB == nil && completeA.Name() == completeB.Name()
}

func firstID(texts ...string) string {
	for _, text := range texts {
		if id := imageref.ID(text); id != "" {
			return id
		}
	}
	return ""
}
