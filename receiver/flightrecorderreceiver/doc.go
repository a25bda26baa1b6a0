// Package flightrecorderreceiver is the Collector receiver `flight_recorder`: it hands
// on what the extension of the same name tells of its captures, as log records. An
// extension has no pipeline of its own.
//
//go:generate go tool mdatagen metadata.yaml
package flightrecorderreceiver
