// Package containerstatusreceiver is the receiver container_status: state,
// health and restarts of every container as the engine tells them, and what
// happens in the engine as log events.
//
//go:generate go tool mdatagen metadata.yaml
package containerstatusreceiver
