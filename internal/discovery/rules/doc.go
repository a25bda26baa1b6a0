// Package rules evaluates what the operator has configured: an expression over
// a container ([target.Env]) that leads to a receiver and its configuration.
//
// Everything is compiled by [Compile], which reports all mistakes at once, each
// with the rule's name and the place in it. Expressions are those of
// github.com/expr-lang/expr; strings of the configuration may hold expressions
// between backticks, as receiver_creator has it (template.go).
//
// A rule is tried on each endpoint of a container and at last on the container
// alone. It starts one receiver, for the first that fits, or with EveryPort one
// for each, 16 at most. A mistake that only shows when an expression meets a
// container is a [Problem] of this container and rule; the other rules go on.
//
// Work is bounded: the size of expressions (nodes), what an evaluation may
// allocate, and ranges, which are taken only behind "in". A [Set] is not changed
// after Compile and may be used by any number of goroutines.
//
// Kernel needs: none.
package rules
