// Package cri asks a container runtime for its containers and pods over the
// Container Runtime Interface, the gRPC service that the kubelet uses:
// containerd and cri-o.
//
// Promise: everything the runtime lists is told once per connection, and again
// when it changes; what it no longer lists is told to be gone, also when it went
// while nobody was connected. What has ended is told once, and that it is gone,
// before what lives. A call has a deadline and an answer a bound. An answer with
// holes loses only what has the hole, and is asked for again now and then.
//
// An address is the pod's. It is a container's, too, if it runs and no other one
// of another name is listed for its sandbox, neither alive nor dead.
//
// Concurrency: Run owns everything but the queue of wants, which has a lock.
//
// Cost: one listing of sandboxes and one of containers per interval, and soon
// after an event of the runtime or a want, four per second at most. One status
// call per new sandbox, two calls per new container; an image that several new
// containers share is asked for once per listing. What is not answered costs
// these calls in three listings, and then in one of thirteen.
//
// Kernel needs: none. The runtime must serve version v1 of the interface
// (containerd 1.6 and newer), and its socket belongs to root.
//
// Known limitations: containers that were not made through the interface (those
// of Docker, nerdctl and ctr) are not in it. A container that is made and
// removed between two listings is missed; the kubelet keeps dead ones for
// longer than that. containerd lists a sandbox only when it runs, which is
// after its cgroup appeared. Init containers look like any other, so after one of
// them no container has the pod's address. The interface knows nothing of that,
// of the objects that own a pod, nor of its node: the source kubelet does.
package cri
