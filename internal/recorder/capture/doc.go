// Package capture freezes what the flight recorder knows when something has
// gone wrong: it decides when, takes a picture of the container at once, holds
// the window of time, and writes it to one file when it is over.
//
// Triggers ([Kind]): an OOM kill, a container that runs on without one of its
// processes (degraded), an end with an error that nobody asked for, a container
// near its memory limit, and who asks. They are seen in the events and metrics
// that pass ([Engine.ObserveEvents], [Engine.ObserveMetrics]) or told
// ([Engine.Manual]). Of what happens to containers only this agent's receivers are
// believed, by the name of their scope; a record of anybody may ask for a capture, and
// four of them have one in half an hour. One incident that the kernel and the engine
// both tell is one trigger. The gravest trigger names a capture ([bundle.Gravest]),
// whichever came first; only the id stays that of the first.
//
// Who asked for an end: the engine tells of signals that it sends (container.kill),
// and an end within a minute after is asked for. Exit code 143 (SIGTERM) always is.
// 137 (SIGKILL) is not if the OOM killer sent the signal seconds before, nor if the
// engine tells of the end (container.die) and has sent none. Where no engine is
// followed, 137 makes no capture: it is what each stop leaves behind that took longer
// than its grace, how long the container had run says nothing about it, and a capture
// for each of them would push those of real incidents off the shelf. What somebody
// kills by hand there is in the events, and can be captured while it is kept. Hosts
// where jobs fail all the time are bounded twice: one capture for the ends of a
// service in ten minutes, and three for ends on the host in half an hour. What opens
// no capture for that is noted in one that is open, if there is one.
//
// Who asks may ask for any window of up to 30 min that is still kept. Without a
// container it is about those that something has happened to and the busiest ones. Of
// a time that is over there are no pictures.
//
// Life of a capture: a picture of cgroup, processes, sockets and host at the
// trigger, which is written to disk; [t-10 min, t+2 min] held in the stores; a
// trigger of the same container or project inside that window joins the capture and
// makes it longer, up to 30 min, and others open their own; then it is cut, as one file ([package bundle]). A journal lets a
// restarted agent finish what was open. When there are too many the oldest go,
// the first of its kind for a service last, and a pinned one never; of what records ask
// for none is the first. Pinned ones cannot take all the room ([ErrPins]).
//
// What cannot be made is listed in the manifest, and a capture without metrics,
// say, is still made. What the engine does not take up is counted with its
// reason ([Stats]).
//
// What goes wrong is told ([Options.Failed]) and tried again for ten minutes, in
// which the window stays held: a full disk may have room again. Then it is given up
// until the next start, unless somebody gives it up for good ([Engine.Drop]). A clock
// that is set ends the windows that are open, and silences nobody.
//
// Concurrency: an [Engine] and a [Shelf] are safe for concurrent use. Observe
// never waits: a full queue drops and counts. One goroutine takes pictures and
// does nothing else, one keeps the journal, and one cuts; all end in Close.
//
// Cost: nothing per metric but a look at its name; a picture some milliseconds;
// a cut about a second, in the background.
package capture
