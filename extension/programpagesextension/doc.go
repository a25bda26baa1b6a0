// Package programpagesextension gives those pages of the agent's program file back to the
// kernel that only its start has needed, once, some time after the pipelines have begun.
//
// internal/programpages does it, and says what that means.
package programpagesextension
