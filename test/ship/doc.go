// Package ship runs the image on a real engine, with the rights that docs/privileges.md
// says and with each of them taken away.
//
// The tables of that page are the tests' tables: which features a set of options
// yields, what the options are, and what is lost without each. So the page cannot say what
// is not so. The Compose files of deploy are held to the same tables, and started.
//
// Promise: of the agent nothing is used but what users have: the image, its ports, its
// log, `docker exec`, and the files in its volumes. What a feature is said to do is seen in
// data, never in what the agent says of itself; what is lost is looked for until 15 seconds'
// worth of other data has arrived since the rest was there.
//
// Concurrency: one test has all agents, as many at a time as -parallel says; each has its own
// volumes and the address of its container. Ports of the host are published on addresses of
// their own, and a few rules of iptables are about addresses that are no network's. Where
// process 1 does not let itself be looked at, agents see this process in its place.
//
// Cost: about four minutes on 2 cores with -parallel 4: agents mostly wait. It builds bin/ and
// the image, unless TALLYMAN_SHIP=keep says that tallyman:dev of the engine is to be taken as
// it is.
//
// Kernel and privileges: root and Docker (a private engine is started where none answers),
// BPF with BTF.
package ship
