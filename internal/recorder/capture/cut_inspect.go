package capture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/redact"
)

// maxInspect bounds how many containers the engine is asked about: about 40 are
// in a capture of the default scope at most.
const maxInspect = 64

// inspectWithin bounds how long the engine is asked in all: on a host in trouble it
// may not answer for minutes, and the rest of the capture does not wait for that.
const inspectWithin = 15 * time.Second

// redactor knows the containers of the capture.
func (c *cutting) redactor() *redact.Redactor {
	return &redact.Redactor{Names: c.e.o.EnvNames, Keep: func(run string) bool { return c.members[run] }}
}

// inspect adds what the engine says of the containers in scope, the ones with
// triggers first. It is asked through docker_filter and masked again here.
func (c *cutting) inspect(ctx context.Context) error {
	if c.e.o.Inspect == nil {
		c.miss("inspect", errNone)
		return nil
	}
	asking, done := context.WithTimeout(ctx, inspectWithin)
	defer done()
	for i, id := range c.byInterest() {
		if i == maxInspect {
			c.miss("inspect", fmt.Errorf("of more than %d containers", maxInspect))
			break
		}
		found, err := c.e.o.Inspect.Inspect(asking, id)
		if errors.Is(err, docker.ErrNotFound) {
			continue // it has been removed: what is known stands in entities.json
		}
		if err != nil {
			c.miss("inspect of "+orHost(id), err)
			if asking.Err() != nil {
				return ctx.Err() // nil if only the engine was too slow
			}
			continue
		}
		name := path.Join(bundle.StateDir, "inspect", memberID(id)+".json")
		if err := c.masked(name, inspected(found)); err != nil {
			return err
		}
	}
	return nil
}

// byInterest are the ids in scope, those of triggers first.
func (c *cutting) byInterest() []string {
	var ids []string
	for _, t := range c.p.triggers {
		if t.Container.ID != "" && !slices.Contains(ids, t.Container.ID) {
			ids = append(ids, t.Container.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.members)) {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// inspected is a container in the words of the engine's API where it has them.
// Only names of variables are there.
func inspected(d *docker.Container) map[string]any {
	env := make([]string, 0, len(d.Env))
	for _, name := range slices.Sorted(maps.Keys(d.Env)) {
		env = append(env, name+"=")
	}
	return map[string]any{
		"Id": d.ID, "Name": d.Name, "Image": d.ImageID, "ImageRef": d.ImageRef, "Path": d.Command, "Created": d.Created,
		"Labels": d.Labels, "Env": env, "Networks": d.Networks, "NetworkMode": d.NetworkMode,
		"State": d.State,
	}
}

// masked adds a member of JSON without its secrets.
func (c *cutting) masked(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	r := c.redactor()
	out, err := r.JSON(text)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	c.redacted(name, r.Counts())
	return c.w.Add(name, out)
}

// entities adds what is known of the containers in scope.
func (c *cutting) entities(context.Context) error {
	if c.e.o.Entities == nil {
		c.miss(bundle.EntitiesName, errNone)
		return nil
	}
	known := []Entity{}
	for _, id := range c.byInterest() {
		if entity, ok := c.e.o.Entities.Lookup(id); ok {
			known = append(known, entity)
		}
	}
	if err := c.masked(bundle.EntitiesName, known); err != nil {
		return err
	}
	return c.entityLines()
}

// entityLines adds the part of the recorder's own table that is about the containers
// in scope: who opens the capture then knows how each of them ended, and which of its
// name it was.
func (c *cutting) entityLines() error {
	var lines bytes.Buffer
	err := c.e.o.Entities.Write(&lines, c.p.window, c.keeps)
	if err != nil {
		c.miss(bundle.EntityLines, err)
		return nil
	}
	r := c.redactor()
	text, err := r.Lines(lines.Bytes())
	if err != nil {
		return fmt.Errorf("write %s: %w", bundle.EntityLines, err)
	}
	c.redacted(bundle.EntityLines, r.Counts())
	return c.w.Add(bundle.EntityLines, text)
}

// agent adds what the agent says of itself.
func (c *cutting) agent(context.Context) error {
	if c.e.o.Agent == nil {
		return nil
	}
	return c.masked(bundle.AgentName, c.e.o.Agent())
}
