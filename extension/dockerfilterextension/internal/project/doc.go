// Package project lets through of a Docker engine's answers what a monitoring
// client may see, and nothing else.
//
// What that is stands in one place, tables.txt: for each [Kind] of answer the
// fields that are kept, and those that are rewritten by a named rule. All other
// fields are left out. [Compile] joins the tables with the rules of one client
// profile (environment variables, labels, options); the result is used by
// [Object] for one object, by [List] for an array of them, and by [Stream] for
// one object per line.
//
// # What is promised
//
//   - Answers are streamed. An object leaves only after it was read to its end,
//     and what an element may take is bounded (4 MiB), not what a body may take.
//   - A JSON type other than the expected one is [ErrShape]. A text that does
//     not have the form its rule asks for (a time that is no time) is left out.
//   - Numbers pass byte for byte.
//   - A body that is cut off is an error; the end of a list is then not written.
//   - Whatever is kept is searched for what certainly is a secret: URLs with a
//     password, JSON web tokens, PEM blocks, keys of known providers. Only the
//     labels and variables that a profile names are exempt (labels) or are
//     searched for these alone (variables).
//   - No text of an answer is part of an error.
//
// What a profile lets through in full it lets through in full: a label that
// label_allow names is kept with its value, except those of
// com.datadoghq.ad.*, whose templates may hold passwords, and those of
// io.opentelemetry.discovery, of which *** stays in place of one. Of the latter ***
// also stays for a profile that does not name them, where other labels go.
//
// # Choices
//
// The code that replaces State.Error is one word of a closed list (codes.go),
// looked up by phrases that engines and runtimes use; "error" if none fits.
// Config.Cmd and Config.Entrypoint keep their first word only if Path, which is
// what the container runs, is the same word: the first word of Cmd is an
// argument as soon as there is an entry point.
//
// A [Rules] may be used by any number of goroutines. Cost: 2.3 ms and at most 36 KiB of memory
// for a list of 200 containers (285 KB), 0.05 ms for an inspection (Linux 6.18,
// two cores, project_timing_test.go). It needs nothing of the kernel.
package project
