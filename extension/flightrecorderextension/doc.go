// Package flightrecorderextension is the Collector extension `flight_recorder`: the
// life of a recorder (internal/recorder/keeper) within the Collector. It owns the
// folder, the HTTP server and the captures; the exporter of the same name hands it
// data, and the receiver of the same name sends on what it tells of captures.
//
//go:generate go tool mdatagen metadata.yaml
package flightrecorderextension
