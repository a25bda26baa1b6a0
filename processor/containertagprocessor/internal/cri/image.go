package cri

import (
	"slices"
	"strings"

	"github.com/distribution/reference"

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
		ref, ok := parseReference(text)
		if !ok {
			continue
		}
		image.Name = ref.name
		image.Tags = ref.tags(facts.tags)
		break
	}
	return image
}

// imageRef is a reference in its parts.
type imageRef struct {
	name, tag string
	digest    bool
}

// maxReference is more than any reference has: 255 bytes of name, 128 of tag, a
// digest of at most 135 (sha512). The grammar is not tried on anything longer.
const maxReference = 1024

// parseReference takes a reference apart without completing it: the name stays
// as it was written. Ids of images are no references.
func parseReference(text string) (imageRef, bool) {
	if text == "" || len(text) > maxReference || imageID(text) != "" {
		return imageRef{}, false
	}
	parsed, err := reference.Parse(text)
	if err != nil {
		return imageRef{}, false
	}
	named, ok := parsed.(reference.Named)
	if !ok {
		return imageRef{}, false
	}
	ref := imageRef{name: named.Name()}
	if tagged, ok := parsed.(reference.Tagged); ok {
		ref.tag = tagged.Tag()
	}
	_, ref.digest = parsed.(reference.Digested)
	return ref, true
}

// tags are the reference's own and, of those the image has today, the ones
// under the same name. A reference by digest alone names no tag on purpose.
func (r imageRef) tags(repoTags []string) []string {
	var tags []string
	if r.tag != "" {
		tags = append(tags, r.tag)
	}
	if r.digest {
		return tags
	}
	for _, text := range repoTags {
		other, ok := parseReference(text)
		if ok && other.tag != "" && sameRepository(r.name, other.name) && !slices.Contains(tags, other.tag) {
			tags = append(tags, other.tag)
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
		if id := imageID(text); id != "" {
			return id
		}
	}
	return ""
}

// imageID returns text in the form "sha256:<64 digits>" if it is an image's id,
// which cri-o writes without the algorithm, else "".
func imageID(text string) string {
	const algorithm = "sha256:"
	digits := strings.TrimPrefix(text, algorithm)
	if len(digits) != 64 || strings.Trim(digits, "0123456789abcdef") != "" {
		return ""
	}
	return algorithm + digits
}
