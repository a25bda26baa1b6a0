// Package discoveryreceiver is the receiver discovery: it starts other receivers for
// the containers of a host, as rules say or as the containers' labels ask, and stops
// them when the containers go.
//
//go:generate go tool mdatagen metadata.yaml
package discoveryreceiver
