// Package statictags is the source of container tags that users write
// themselves: from the configuration (host_tags), and from a file that may change
// at any time (host_tags_file). The file is a YAML map of words and values,
//
//	role: database
//	team: billing
//	rack: 7
//
// Numbers and truth values become text as they are written. A word that is in
// both has the file's value: the file is of this host, the configuration may be
// of many.
//
// Promise: the file's folder is watched, not the file, because editors and
// Kubernetes put a new file, or a new link, in its place. Where that does not
// show (a link to another folder, a network file system) the file is looked at
// once a minute. A content that cannot be used leaves the last good tags as they
// are and is told once; so is a file that is not there. There are at most 64
// entries, words of 256 bytes and values of 1 KiB; the file has at most 64 KiB.
// None of them says which container data is of: container.id is refused, and so is
// all of container.*, k8s.pod.*, k8s.container.*, linux.cgroup.* and process.pid.
//
// Concurrency: Run belongs to one goroutine; Want does nothing.
//
// Cost: one inotify instance with one watch.
//
// Kernel needs: inotify.
package statictags
