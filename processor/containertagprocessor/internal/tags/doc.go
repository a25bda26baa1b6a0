// Package tags turns what is known of a container and its pod into attributes.
//
// Promise: pure functions. A Compiler does not change and may be used by any
// number of goroutines; the same input gives the same [Set]. Attributes are
// sorted, unique, valid UTF-8 and within the caps, and what was left out is
// counted with its reason. Secrets stay where they are: what package secret
// calls certain never gets out, and of what people write themselves (labels,
// annotations, variables, also mapped ones) neither does what looks like one,
// nor what a name like password announces. Where the operator has given a
// pattern or nothing, and not the key itself, short words announce it as well:
// pass, auth, key (secret.SensitiveName). *** counts as absent, which is what
// docker_filter writes in place of a value.
//
// One table ([Table]) says for each attribute its level and where it comes from,
// the first origin first. An attribute is set once: what the operator has mapped
// comes first, then the alias, then the table from top to bottom, then what the
// rules allow, then the lists that applications carry with them. The same order
// decides who gets out when there are more than MaxAttributes.
//
// What an application carries with it, under keys of its own choice, is marked
// as such, and cannot be what others say of it: host.*, k8s.*, container.* and
// their like are left out. Only a mapping of the operator sets those, and
// nothing sets container.id.
//
// What a deny list names is not read at all, by the table neither.
//
// Cost: linear in the number of labels and variables; of a value, no more is
// read than may come out (and 2 KiB, to find secrets that a cut would hide).
//
// Kernel needs: none.
package tags
