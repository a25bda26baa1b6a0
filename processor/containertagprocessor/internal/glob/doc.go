// Package glob matches names against patterns in which * stands for any
// characters, also none and also slashes, and ? for one character.
//
// Promise: compiled patterns do not change and may be used by any number of
// goroutines. A match takes no allocations and at most len(pattern) *
// len(text) steps, and no text of more than 4 KiB is read.
//
// It is written here because the library at hand, gobwas/glob v0.2.3, says that
// "*é?" does not match "xé😀", and gives [ ] { } and \ a meaning, which are
// typing mistakes in a pattern of ours.
//
// Kernel needs: none.
package glob
