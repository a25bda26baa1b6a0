package docker

import (
	"net/netip"
	"time"
)

// Engine is what an engine says of itself.
type Engine struct {
	// Runtime is "docker" or "podman".
	Runtime string
	// Version is the engine's, "20.10.24"; APIVersion the one that is spoken.
	Version, APIVersion string
}

// Container is one container as the engine describes it. Values are never
// changed once they were handed on.
type Container struct {
	// ID is 64 hexadecimal digits; Name has no leading slash.
	ID, Name string
	// ImageRef is what the container was started from, as it was written;
	// ImageID is "sha256:...".
	ImageRef, ImageID string
	// ImageTags ("nginx:1.25") and ImageDigests ("nginx@sha256:...") are those
	// of the image; empty when the image is gone.
	ImageTags, ImageDigests []string
	// Command is the executable, without its arguments.
	Command string
	Labels  map[string]string
	// Env are the variables whose values can be seen. Values that a filter has
	// masked (***) are left out.
	Env map[string]string
	// Networks are sorted by name.
	Networks []Network
	// NetworkMode is the engine's word: bridge, host, container:<id>, ...
	NetworkMode string
	// Ports are those that it exposes or that are published, by number; nothing is
	// published while it does not run.
	Ports []Port
	// Hostname is what it is told to call itself: in the host's network, as the
	// host.
	Hostname string
	// Created is when it was made.
	Created time.Time
	State   State
}

// Network is a container's place in one network.
type Network struct {
	Name string
	// Addresses are without prefix length; none while it does not run.
	Addresses []netip.Addr
}

// Port is one that a container announces. One that is published in several places
// is there several times.
type Port struct {
	// Number is that within the container, Protocol tcp, udp or sctp.
	Number   uint16
	Protocol string
	// HostIP and HostPort are where it is published; HostPort is 0 where it is only
	// exposed. HostIP is invalid where the engine gives none, which means all.
	HostIP   netip.Addr
	HostPort uint16
}

// State is how a container is.
type State struct {
	// Status is created, running, paused, restarting, removing, exited or dead.
	Status string
	// Health is starting, healthy or unhealthy; "" without a health check.
	Health string
	// Pid is the first process's number on the host, 0 while it does not run.
	Pid int
	// ExitCode is that of the last end.
	ExitCode  int
	OOMKilled bool
	// Restarts is how often the restart policy has started it again.
	Restarts int
	// StartedAt and FinishedAt are the last ones, zero if it never did.
	StartedAt, FinishedAt time.Time
}

// Event is something that happened in an engine.
type Event struct {
	// Time is the engine's clock.
	Time time.Time
	// Type is container, image or network.
	Type string
	// Action is the engine's word without details: start, die, health_status,
	// connect, ... Never an exec command line.
	Action string
	// ID is the full id of the container or network, or the image's name.
	ID string
	// Name and Image are the container's, also for network events where the
	// container is known.
	Name, Image string
	// Container is the id of the container that a network event is about.
	Container string
	// ExitCode is set for die.
	ExitCode *int
	// Signal is set for kill, as a number.
	Signal string
	// Health is set for health_status: healthy or unhealthy.
	Health string
	// OldName is set for rename.
	OldName string
	// Network is the name of the network for connect and disconnect.
	Network string
	// Recovered: the engine did not tell; it was seen from how the container
	// has changed while nobody could listen.
	Recovered bool
}

// Handler is told by a [Watcher], by one goroutine, one call at a time.
type Handler interface {
	// Connected begins each connection: after it come the containers, then Synced.
	Connected(Engine)
	// Put tells of a container that is new or has changed.
	Put(*Container)
	// Gone tells that a container was removed.
	Gone(id string)
	// Absent answers [Watcher.Want] when there is no such container.
	Absent(id string)
	// Event tells what happened, in the order of time. A Put that follows from
	// the event comes before it, a Gone after it.
	Event(Event)
	// Synced: all containers there are have been told.
	Synced()
	// Disconnected tells why nothing will be told for now. It comes once per
	// outage, also when the engine was away at the start.
	Disconnected(error)
}
