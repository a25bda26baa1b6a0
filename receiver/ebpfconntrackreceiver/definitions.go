package ebpfconntrackreceiver

// kind is what a metric is.
type kind uint8

const (
	counter kind = iota // a sum that only grows
	level               // a sum that does not
	histogram
)

// definition is a metric as README.md has it, too.
type definition struct {
	name, unit, description string
	kind                    kind
}

// The metrics. Those of connections are of one container, or of the host's own
// processes.
var (
	connectionCount = definition{
		"container.connection.count", "{connection}", "Connections that ended, by how.", counter,
	}
	connectionActive = definition{
		"container.connection.active", "{connection}", "Connections that are open now.", level,
	}
	connectionIO = definition{
		"container.connection.io", "By", "Payload of connections, each byte once.", counter,
	}
	connectionRetransmits = definition{
		"container.connection.retransmits", "{segment}", "Segments that were sent again.", counter,
	}
	connectionRTT = definition{
		"container.connection.rtt", "s",
		"Smoothed round-trip time: of each connection at its end, and once in each collection interval in which it sent.", histogram,
	}
	connectionDuration = definition{
		"container.connection.duration", "s", "How long connections lasted that ended.", histogram,
	}
	connectionSetup = definition{
		"container.connection.setup.time", "s", "Time from the first SYN until the connection was established.", histogram,
	}
	serverResponse = definition{
		"container.server.response.time", "s", "Time from reading a request to sending the beginning of the answer.", histogram,
	}
	clientResponse = definition{
		"container.client.response.time", "s", "Time from sending a request to reading the beginning of the answer.", histogram,
	}
	edgeConnections = definition{
		"container.edge.connections", "{connection}", "Connections with one peer at one server port that ended.", counter,
	}
	edgeIO = definition{
		"container.edge.io", "By", "Payload of connections with one peer at one server port.", counter,
	}
	edgeFailures = definition{
		"container.edge.failures", "{connection}", "Connections with one peer at one server port that failed or timed out.", counter,
	}
	edgeRetransmits = definition{
		"container.edge.retransmits", "{segment}", "Segments sent again to one peer, by server port.", counter,
	}
	conntrackCount = definition{
		"system.conntrack.count", "{entry}", "Entries of the host's connection tracking table.", level,
	}
	conntrackLimit = definition{
		"system.conntrack.limit", "{entry}", "The most entries that the connection tracking table may have.", level,
	}
)
