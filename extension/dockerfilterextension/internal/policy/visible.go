package policy

import "strings"

// Visible returns what limits the client's view, nil if nothing does: also in
// observe mode, where [Client.Hidden] tells what a limit would hide. It asks
// the catalog anew each time; what the catalog does not know is hidden.
func (c *Client) Visible() Visible {
	if c.policy.observe {
		return nil
	}
	return c.limit()
}

// Hidden tells whether the rule hides a container from the client, in observe
// mode as well. It takes a full id.
func (c *Client) Hidden(id string) bool {
	limit := c.limit()
	return limit != nil && !limit.Container(id)
}

func (c *Client) limit() Visible {
	v := c.Grant.visible
	if v.Same == SameComposeProject {
		l := labelled{catalog: c.policy.catalog, name: labelComposeProject}
		if c.Container == nil {
			return nothing{}
		}
		// A container outside of any project has no project to share. An empty
		// name is none either.
		if l.value = c.Container.Labels[labelComposeProject]; l.value == "" {
			return nothing{}
		}
		return l
	}
	if v.Label == "" {
		return nil
	}
	name, value, hasValue := strings.Cut(v.Label, "=")
	return labelled{catalog: c.policy.catalog, name: name, value: value, anyValue: !hasValue}
}

// Sees is [Visible] for who has the container at hand. It asks nobody, so that it
// can be called while the catalog is being looked through.
func (c *Client) Sees(k Container) bool {
	if c.policy.observe {
		return true
	}
	switch limit := c.limit().(type) {
	case nil:
		return true
	case labelled:
		return limit.shows(k)
	}
	return false
}

// labelled shows the containers with a label. An engine never changes the
// labels of a container.
type labelled struct {
	catalog     Catalog
	name, value string
	anyValue    bool
}

// Container implements [Visible].
func (l labelled) Container(id string) bool {
	c, ok := l.catalog.Get(id)
	return ok && l.shows(c)
}

func (l labelled) shows(c Container) bool {
	value, ok := c.Labels[l.name]
	return ok && (l.anyValue || value == l.value)
}

// nothing hides every container.
type nothing struct{}

// Container implements [Visible].
func (nothing) Container(string) bool { return false }
