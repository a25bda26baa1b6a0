// Package redact takes secrets out of what a capture shows: arguments of
// processes, names of variables, text and JSON.
//
// What it does: values of options and assignments whose name says that they are
// secret, the user part of URLs, what has the form of a key or token (package
// secret), and long runs of random characters become ***. The script after sh -c
// is looked at command by command. Values of
// environment variables are never kept; names only if they are on a list. It
// prefers a false alarm to a leak. What it cannot know is a secret that looks
// like a word and that nothing announces: a password given as a plain argument.
//
// Concurrency: a [Redactor] belongs to one goroutine: it counts.
//
// Cost: linear in the length of the text.
//
// Kernel needs: none.
package redact
