// Package udsstatsdreceiver is the receiver uds_statsd: DogStatsD over Unix
// sockets (and UDP), with the container that sent each datagram by the kernel's
// word.
//
//go:generate go tool mdatagen metadata.yaml
package udsstatsdreceiver
