// Package cgroupreceiver is the receiver of type cgroup.
//
//go:generate go tool mdatagen metadata.yaml
package cgroupreceiver
