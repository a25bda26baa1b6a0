// Command statsdclient is what the containers of the end-to-end tests run to send
// DogStatsD:
//
//	statsdclient load    sends by the official library what package load makes up
//	statsdclient steady  sends at a rate by bare system calls, and tells of refusals
//	statsdclient flood   sends as fast as it can
//	statsdclient once    enters a cgroup, sends one datagram, and is gone
//
// The first three send until they are told to end (SIGTERM), or as many as they
// were asked to, and print what they have sent. An error ends them with 1.
//
// It is linked statically, so that it runs in an image that has nothing but
// busybox.
//
// Kernel needs: none.
package main
