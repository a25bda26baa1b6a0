// Package arch checks that the hand-written files of a Go module keep to the
// arrows of ARCHITECTURE.md and to the limits of STYLE.md.
//
// Promise: [Load] reads a module once, [Rules] lists every rule, and each rule
// is a pure function from the tree to the places that break it. What a rule
// cannot know without types (a table that is changed through an alias, a
// helper that hides a sleep) it lets pass: a report is always a real one.
//
// Exempt are generated files (the `Code generated ... DO NOT EDIT.` line of
// the Go convention), testdata, vendor, folders that begin with a dot or an
// underscore, and nested modules.
//
// Concurrency: a loaded [Tree] is never written to and may be shared.
//
// Cost: every Go file is parsed once, without types and without running the
// go command, which takes a few milliseconds per thousand lines.
//
// Kernel needs: none.
package arch
