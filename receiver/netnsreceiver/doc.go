// Package netnsreceiver is the receiver netns: interface, TCP, UDP and
// conntrack counters of every container's network namespace and the host's.
//
//go:generate go tool mdatagen metadata.yaml
package netnsreceiver
