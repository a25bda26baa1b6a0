// Package flightrecorderexporter is the Collector exporter `flight_recorder`: it
// hands metrics, logs and traces to the extension of the same name, which keeps
// them on this host.
//
// It never holds up a pipeline: what the recorder has not taken yet waits in a
// queue of bounded size, and if that is full the oldest batch is dropped and
// counted. One goroutine for each signal hands on.
package flightrecorderexporter
