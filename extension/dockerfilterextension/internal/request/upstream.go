package request

import (
	"net/http"
	"strings"
)

// Upstream builds the method and target for the engine from the typed parts of
// the request. version is the API version to speak, such as "1.41", or empty;
// ref is what to put in place of Ref, usually the full id that was resolved
// from it. Nothing else goes into the target, and all that is not plain is
// percent-encoded. Both results are empty for a request without an operation,
// for one that is answered locally, for a version that is none, and for a ref
// that Parse would not accept.
func (r *Request) Upstream(version, ref string) (method, target string) {
	if r.spec == nil || r.spec.Local || strings.Trim(version, "0123456789.") != "" {
		return "", ""
	}
	method = http.MethodGet
	if r.Head {
		method = http.MethodHead
	}
	b := make([]byte, 0, len("/v1.41")+len(r.spec.Route)+len(ref)+sizeHint)
	if version != "" {
		b = append(append(b, "/v"...), version...)
	}
	b, ok := r.spec.appendPath(b, ref)
	if !ok {
		return "", ""
	}
	return method, string(r.appendQuery(b))
}

// sizeHint is what parameters usually need, without filters.
const sizeHint = 64

func (s *Spec) appendPath(b []byte, ref string) ([]byte, bool) {
	collection, placeholder, verb := s.split()
	b = append(append(b, '/'), collection...)
	if placeholder == "" {
		return b, true
	}
	kind := routes.collections[collection]
	if !kind.accepts(ref) {
		return nil, false
	}
	b = append(b, '/')
	if kind == nameRef {
		b = appendEscaped(b, ref)
	} else {
		b = append(b, ref...)
	}
	if verb != "" {
		b = append(append(b, '/'), verb...)
	}
	return b, true
}

// appendQuery writes the parameters in the order of the table.
func (r *Request) appendQuery(b []byte) []byte {
	separator := byte('?')
	begin := func(name string) {
		b = append(append(append(b, separator), name...), '=')
		separator = '&'
	}
	for _, p := range r.spec.params {
		switch p.kind {
		case filters:
			if len(r.Query.Filters) > 0 {
				begin(p.name)
				b = appendEscaped(b, string(appendFilters(nil, r.Query.Filters)))
			}
		case pinned:
			begin(p.name)
			b = appendEscaped(b, psArgs)
		default:
			for _, v := range r.Query.values {
				if v.name == p.name {
					begin(p.name)
					b = appendEscaped(b, v.text)
				}
			}
		}
	}
	return b
}
