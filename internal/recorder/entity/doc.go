// Package entity remembers every container that the recorder has heard of: one
// [Entity] for each of its incarnations, with all tags that were ever on its data.
//
// Promise: what was known of a container is still known when it is gone. An
// incarnation is one run, from start to end: a container that is restarted under
// the same id has two, and so have two containers of one name. The kernel's word
// and the engine's about the same run are put together, in whatever order they
// come, and before or after the first data. Metrics carry a few labels only; the
// other tags are here and are joined when somebody asks.
//
// Bounds: at most [Options.Max] incarnations (50,000) with [Options.MaxBytes] of tags
// and other texts (80 MiB), of which the one that ended first goes first; 128 tags
// each of up to 1,024 bytes, 16 KiB together, half of them by those whose word is no
// receiver's; and a file of less than three times what it has to hold plus 4 MiB. What
// was given up is counted in [Stats].
//
// Concurrency: a [Table] is safe for concurrent use. Observing never touches the
// disk; [Table.Maintain] does, and the owner calls it about once a second.
//
// Cost: data of a container whose tags have not changed cost one hash of them and
// allocate nothing: 17 ns per sample of a pass (AMD EPYC). Tags are held once for
// all incarnations that share them: one with 25 tags, three of them its own, takes
// 1.8 kB, so that a full table takes 90 MB; [Options.MaxAge] keeps it smaller. See
// entity_timing_test.go.
//
// Clock: times in the future are taken for the present. Where the clock of the host is
// set back, what runs goes on to run, with the begin that was told by the old clock, and
// silence is measured by the new one. Of a container that ends then, or is restarted
// under its id, the times that are still to come are moved to the present: how long it
// had run is lost.
//
// Crashes: what was learned since the last Maintain is lost with the process, and
// what the kernel had not written with the host. A torn or damaged line is skipped
// and counted, never an error.
//
// Format of entities.jsonl: one JSON object per line:
//
//	{"format":1,"seq":9}                 first line, with the last seq that was given
//	{"entity":{"seq":7,"id":"...",...}}  all of one incarnation; the last line of a seq counts
//	{"alive":"2026-11-20T03:12:00Z"}     what has not ended was there at this time
//
// Members and lines of other kinds are skipped. The file is only appended to, and
// written anew when it is opened or has grown too much: to entities.jsonl.tmp,
// synced, and renamed.
//
// Kernel needs: none.
package entity
