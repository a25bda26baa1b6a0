// Package ship runs the image on a real engine, with the rights that docs/privileges.md
// says and with each of them taken away.
//
// The tables of that page are the tests' tables: which features a set of options
// yields, what the options are, and what is lost without each. So the page cannot say what
// is not so. deploy/compose.yaml is held to the same tables, and started.
//
// Promise: of the agent nothing is used but what users have: the image, its ports, its
// log, `docker exec`, and the files in its volumes.
//
// Concurrency: one test has all agents, a few at a time; each has its own volumes and the
// address of its container. Ports of the host are published on addresses of their own.
//
// Cost: about five minutes on 2 cores, beside nothing else: its limits count from there.
// It builds bin/ and the image, unless TALLYMAN_SHIP=keep says that tallyman:dev of the
// engine is to be taken as it is.
//
// Kernel and privileges: root and Docker (a private engine is started where none answers),
// BPF with BTF.
package ship
