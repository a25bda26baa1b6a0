package spec

import "slices"

// Merge puts what labels ask for over what rules want: of two specs of one
// receiver type for the same port of a container, the label's stays. The result
// is the caller's.
func Merge(labels, rules []Spec) []Spec {
	all := slices.Clone(labels)
	for _, r := range rules {
		asked := slices.ContainsFunc(labels, func(l Spec) bool {
			return l.Target == r.Target && l.Port == r.Port && l.Type() == r.Type()
		})
		if !asked {
			all = append(all, r)
		}
	}
	return all
}
