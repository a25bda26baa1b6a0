// Package target describes what discovery knows about one container, as plain
// data: what the engine says, what its processes do, and which endpoints follow
// from both.
//
// A [Target] is filled by the watcher, compared with [Target.Equal] and never
// changed once it was handed on; it may then be read by any number of goroutines.
// [Target.Envs] turns it into what rules, templates and hints see. The names in
// there are a contract with users: they are the fields of [Env], and those that
// receiver_creator has for containers mean the same here.
//
// Which ports count as endpoints is decided in one place, [Target.Endpoints].
//
// Kernel needs: none.
package target
