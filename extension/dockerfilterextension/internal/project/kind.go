package project

// Kind names what an engine answered: it chooses the table. Lists are given by
// the kind of their elements.
type Kind string

// The kinds of answers. Their values are the names of the sections of
// tables.txt.
const (
	ContainerSummary Kind = "container.list" // List
	ContainerInspect Kind = "container.inspect"
	ContainerStats   Kind = "container.stats" // Stream, or Object with stream=0
	ContainerTop     Kind = "container.top"
	ImageSummary     Kind = "image.list" // List
	ImageInspect     Kind = "image.inspect"
	ImageHistory     Kind = "image.history" // List
	VolumeList       Kind = "volume.list"   // Object: it is an object with a list in it
	Volume           Kind = "volume.inspect"
	Network          Kind = "network.inspect" // List or Object
	Event            Kind = "events"          // Stream
	Info             Kind = "info"
	Version          Kind = "version"
	DiskUsage        Kind = "system.df"
	Plugin           Kind = "plugin.list"     // List
	Node             Kind = "node.inspect"    // List or Object
	Service          Kind = "service.inspect" // List or Object
	Task             Kind = "task.inspect"    // List or Object
	Swarm            Kind = "swarm.inspect"
)

// Kinds returns all kinds, in no particular order of importance.
func Kinds() []Kind {
	return []Kind{
		ContainerSummary, ContainerInspect, ContainerStats, ContainerTop,
		ImageSummary, ImageInspect, ImageHistory, VolumeList, Volume, Network,
		Event, Info, Version, DiskUsage, Plugin, Node, Service, Task, Swarm,
	}
}
