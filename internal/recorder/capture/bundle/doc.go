// Package bundle writes and reads captures: files by the name of *.tmcap, each
// a zip with a manifest.
//
// The format, version 1. Names are slash-separated paths.
//
//	manifest.json           [Manifest]; written last
//	report.html             reads alone, by a double click
//	entities.json           the containers of the capture, with their tags
//	metrics/<ulid>/         a block of the Prometheus TSDB
//	events/*.tev            event segments
//	state/processes.json    a list, one entry per trigger that was looked at
//	state/sockets.json      likewise
//	state/host.json         likewise, files of /proc as they are
//	state/cgroup/<id>/*     files of the cgroup as they are
//	state/inspect/<id>.json what the engine says of the container
//	oom/kmsg.txt            what the kernel said about OOM kills
//	agent/stats.json        what the agent says of itself
//
// Chunks of metrics and event segments are compressed already and are stored;
// the rest is deflated. A reader skips members that it does not know, and
// fields of the manifest that it does not know. A version that it does not know
// is refused with [ErrNewer].
//
// Promise of the writer: the file appears under its name complete and synced, or
// not at all. Promise of the reader: a capture may come from anywhere, so
// nothing in it is trusted: names that lead elsewhere, links, names that come
// twice and sizes above [Limits] are refused before anything is read, and what
// is read has the size and the SHA-256 that the manifest says.
//
// Concurrency: a [Writer] belongs to one goroutine; a [Reader] may be shared.
//
// Kernel needs: none.
package bundle
