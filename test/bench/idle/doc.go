// Command idle measures what the agent costs while nothing happens: the default
// configuration over 50 idle Docker containers, with and without the flight recorder.
// `make bench` runs it; docs/benchmarks.md quotes it.
//
//	go run ./test/bench/idle                         about 5 minutes
//	go run ./test/bench/idle -rows all -settle 20s -window 20s
//	go run ./test/bench/idle -binary .cache/soak/tallyman -profiles .cache/idle
//
// For each row the agent is started, given time to settle, and left alone for the
// length of a window, at the end of which its processor time and memory are read from
// /proc. Nobody looks at its pages. Rows leave components out of the configuration;
// the difference to the first row is what they cost. With -profiles, which need the
// agent that scripts/soak.sh builds, it is also asked where the time and memory go.
//
// The goal is 1 % of a core and 150 MB of RSS with everything on. It is printed
// beside the figures; nothing fails by it, because the machine has its part in them.
//
// It needs root, dockerd and the static busybox. The engine is a private one; it, the
// containers and the agent are gone when the command ends, also after Ctrl-C.
package main
