// Command reference writes docs/settings.md: every setting of every component of
// this module with its type, its default and what its Go comment says. Types and
// defaults come from the factories, comments from the sources beside them.
//
//	go run ./test/reference >docs/settings.md
package main
