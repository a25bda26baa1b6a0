// Package spec is what discovery wants to run: one receiver, for one container,
// with the configuration that came out of a rule, a label or a recognition.
//
// A [Spec] is plain data and is not changed once it was handed on. [Spec.Key]
// says which receiver is meant, [Spec.Equal] whether it would be run the same
// way: a container that comes back with another address has the same key and is
// not equal, which is what the runner re-targets by.
//
// Kernel needs: none.
package spec
