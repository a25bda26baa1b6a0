// Package docs checks what the documents tell a reader to write, and what deploy has
// for Kubernetes and ECS: it finds every block of code on every page, says by rule what
// it is, and starts or parses it.
//
// Promise: a block that no rule knows fails the tests, unless it is in a short list with
// the reason why nothing can be said about it. Configurations are merged over the default
// one and validated by the built agent; manifests are decoded strictly into the types of
// the Kubernetes API, rendered as kustomize does, and their pod is run; commands are parsed
// by bash, and the programs, targets, files, flags and variables in them that are this
// repository's exist; queries are parsed, and their metrics exist.
//
// Concurrency: tests run in parallel; the agent is a process of its own for each
// configuration.
//
// Cost: building the agent, and then about 0.3 s of CPU per configuration.
//
// Kernel needs: none, and no root, engine or network, but for the pod of the DaemonSet,
// which is run on a containerd of its own (root, BPF). docker-compose and kubectl are used
// where they are there.
package docs
