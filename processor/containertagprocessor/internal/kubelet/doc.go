// Package kubelet asks the kubelet of this node for its pods: GET /pods, on its
// own port with TLS and a token, or on the read-only port without.
//
// Promise: pods and containers are told when they are new or have changed, and
// when they went. An answer counts as a whole: one that breaks off changes
// nothing. A pod whose form is not understood is left as it was known, the
// others go on. The token is sent over TLS only, follows no redirect, and is in
// no error.
//
// Concurrency: Run owns everything but the flag of wants, which has a lock.
//
// Cost: one request per interval, and one soon after a want, one per second at
// most. An answer that is the same as the last one is not decoded.
//
// Kernel needs: none. The kubelet must grant its caller "get" on nodes/pods
// (Kubernetes 1.33 and newer) or on nodes/proxy.
//
// Known limitations: the kubelet does not say what owns the owner of a pod. The
// Deployment is known for sure, by the hash in the ReplicaSet's name; the
// CronJob is inferred from the time in the Job's name, and so is not seen for
// jobs made by hand from one. Variables that come from config maps, secrets or
// fields, or refer to others, have no value here. A sandbox's id is not told.
package kubelet
