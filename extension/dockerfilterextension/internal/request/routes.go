package request

import "strings"

// refKind is the form that the placeholder of a route has.
type refKind uint8

const (
	noRef refKind = iota
	// containerRef has no slash: that would be a legacy link name. Nodes,
	// services and tasks have the same form.
	containerRef
	// imageRef may have slashes, a port, a tag and a digest.
	imageRef
	// nameRef is free text, of which what is not plain comes percent-encoded.
	nameRef
)

// routeKey is what is fixed of a route with a placeholder.
type routeKey struct{ collection, verb string }

// routeTable finds the operation of a path.
type routeTable struct {
	literals    map[string]*Spec
	withRef     map[routeKey]*Spec
	collections map[string]refKind
}

var routes = compileRoutes()

func compileRoutes() routeTable {
	kinds := map[string]refKind{"container": containerRef, "image": imageRef, "name": nameRef}
	table := routeTable{map[string]*Spec{}, map[routeKey]*Spec{}, map[string]refKind{}}
	for _, spec := range operations {
		collection, placeholder, verb := spec.split()
		if placeholder == "" {
			table.literals[spec.Route] = spec
			continue
		}
		table.withRef[routeKey{collection, verb}] = spec
		table.collections[collection] = kinds[placeholder]
	}
	return table
}

// split cuts a route into its first segment, the word of its placeholder and
// its last segment. A route without a placeholder is a collection as a whole.
func (s *Spec) split() (collection, placeholder, verb string) {
	before, rest, ok := strings.Cut(s.Route, "/{")
	if !ok {
		return s.Route[1:], "", ""
	}
	name, after, _ := strings.Cut(rest, "}")
	return before[1:], name, strings.TrimPrefix(after, "/")
}

// route returns the operation of the target and its reference, decoded, or nil.
func (t *target) route() (*Spec, string) {
	if spec := routes.literals[t.path]; spec != nil {
		return spec, ""
	}
	if t.ref == "" {
		return nil, ""
	}
	return routes.withRef[routeKey{t.collection, t.verb}], t.ref
}
