// Package containertagprocessor is the processor container_tag: it turns the id
// of a container on a resource into what people call it: name, image, service,
// orchestrator, host and cloud. It also keeps the data of unwanted containers out.
//
//go:generate go tool mdatagen metadata.yaml
package containertagprocessor
