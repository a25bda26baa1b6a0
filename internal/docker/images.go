package docker

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/containerd/errdefs"
)

// maxImages is how many images are remembered, about 0.5 KB each. Hosts with
// more different images in use at once are rare; those ask again.
const maxImages = 1000

// imageNames are what an image is called. Both are empty when it is gone.
type imageNames struct{ tags, digests []string }

// imageCache remembers images by id. The zero value is empty.
type imageCache struct {
	mu     sync.Mutex
	known  map[string]imageNames
	recent []string // ids, the longest unused first
}

// Images returns tags ("nginx:1.25") and repository digests ("nginx@sha256:...")
// of the image with that id. They are remembered until ForgetImage. An image
// that is gone has neither.
func (c *Client) Images(ctx context.Context, id string) (tags, digests []string, err error) {
	if names, ok := c.images.get(id); ok {
		return names.tags, names.digests, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	c.mu.Lock()
	api := c.api
	c.mu.Unlock()
	answer, err := api.ImageInspect(ctx, id)
	if err != nil && !errdefs.IsNotFound(err) {
		return nil, nil, fmt.Errorf("inspect image %.19s: %w", id, err)
	}
	names := imageNames{tags: answer.RepoTags, digests: answer.RepoDigests}
	c.images.put(id, names)
	return names.tags, names.digests, nil
}

// ForgetImage makes the next Images ask again: tags have changed.
func (c *Client) ForgetImage(id string) { c.images.forget(id) }

// ForgetImages is ForgetImage for all of them.
func (c *Client) ForgetImages() { c.images.clear() }

func (c *imageCache) get(id string) (imageNames, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	names, ok := c.known[id]
	if !ok {
		return imageNames{}, false
	}
	c.touch(id)
	return names, true
}

func (c *imageCache) put(id string, names imageNames) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]imageNames{}
	}
	c.known[id] = names
	c.touch(id)
	if len(c.recent) > maxImages {
		delete(c.known, c.recent[0])
		c.recent = slices.Delete(c.recent, 0, 1)
	}
}

// touch makes id the last used. Moving 1,000 strings takes microseconds, less
// than the inspect of the container that it comes with.
func (c *imageCache) touch(id string) {
	if at := slices.Index(c.recent, id); at >= 0 {
		c.recent = slices.Delete(c.recent, at, at+1)
	}
	c.recent = append(c.recent, id)
}

func (c *imageCache) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, id)
	if at := slices.Index(c.recent, id); at >= 0 {
		c.recent = slices.Delete(c.recent, at, at+1)
	}
}

func (c *imageCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known, c.recent = nil, nil
}
