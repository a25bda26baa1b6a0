package request

// Operation is one thing a client may ask the engine for.
type Operation string

// The operations, one for each row of the table.
const (
	Ping             Operation = "ping"
	Version          Operation = "version"
	Info             Operation = "info"
	Events           Operation = "events"
	ContainerList    Operation = "container.list"
	ContainerInspect Operation = "container.inspect"
	ContainerStats   Operation = "container.stats"
	ContainerLogs    Operation = "container.logs"
	ContainerTop     Operation = "container.top"
	ImageList        Operation = "image.list"
	ImageInspect     Operation = "image.inspect"
	ImageHistory     Operation = "image.history"
	VolumeList       Operation = "volume.list"
	VolumeInspect    Operation = "volume.inspect"
	NetworkList      Operation = "network.list"
	NetworkInspect   Operation = "network.inspect"
	PluginList       Operation = "plugin.list"
	PluginInspect    Operation = "plugin.inspect"
	SystemDF         Operation = "system.df"
	NodeList         Operation = "node.list"
	NodeInspect      Operation = "node.inspect"
	ServiceList      Operation = "service.list"
	ServiceInspect   Operation = "service.inspect"
	ServiceLogs      Operation = "service.logs"
	TaskList         Operation = "task.list"
	TaskInspect      Operation = "task.inspect"
	TaskLogs         Operation = "task.logs"
	SwarmInspect     Operation = "swarm.inspect"
)

// OptIn names what a client must be given beyond the operations that are
// harmless for everybody.
type OptIn string

// The opt-ins. OptInSizes is about a parameter, see [Request.NeedsSizes]; the
// others are about operations.
const (
	OptInLogs         OptIn = "logs"
	OptInTop          OptIn = "top"
	OptInImageHistory OptIn = "image-history"
	OptInSizes        OptIn = "sizes"
	OptInDF           OptIn = "df"
	OptInPlugins      OptIn = "plugins"
	OptInSwarm        OptIn = "swarm"
)

// Spec is one row of the operation table.
type Spec struct {
	// Operation is the key.
	Operation Operation
	// Route is the path after the optional version. At most one segment is a
	// placeholder in braces, named after the kind of its reference.
	Route string
	// Head says that HEAD is allowed beside GET.
	Head bool
	// OptIn is what a client needs for it, or empty.
	OptIn OptIn
	// Local says that the answer never comes from the engine.
	Local bool

	stream streams
	params []param
}

// streams tells when an answer has no end of its own: as the boolean parameter
// says, and otherwise if that is absent. Without a parameter it is always as
// otherwise says.
type streams struct {
	param     string
	otherwise bool
}

// Operations returns a copy of the table, in the order of the constants.
func Operations() []Spec {
	table := make([]Spec, 0, len(operations))
	for _, spec := range operations {
		table = append(table, *spec)
	}
	return table
}

// operations is the table. Parameters are in the order in which they go upstream,
// by name. Sources: the engine's API document (swagger.yaml of
// github.com/moby/moby/api v1.56.1) for routes and parameters, and the sizes
// and opt-ins of the extension's README.
var operations = []*Spec{
	{Operation: Ping, Route: "/_ping", Head: true},
	{Operation: Version, Route: "/version"},
	{Operation: Info, Route: "/info"},
	{
		Operation: Events, Route: "/events", stream: streams{otherwise: true},
		params: []param{{"filters", filters}, {"since", timestamp}, {"until", timestamp}},
	},
	{
		Operation: ContainerList, Route: "/containers/json",
		params: []param{{"all", boolean}, {"filters", filters}, {"limit", limit}, {"size", sizes}},
	},
	{
		Operation: ContainerInspect, Route: "/containers/{container}/json",
		params: []param{{"size", sizes}},
	},
	{
		Operation: ContainerStats, Route: "/containers/{container}/stats", stream: streams{"stream", true},
		params: []param{{"one-shot", boolean}, {"stream", boolean}},
	},
	{
		Operation: ContainerLogs, Route: "/containers/{container}/logs", OptIn: OptInLogs, stream: streams{"follow", false},
		params: []param{
			{"details", hidden}, {"follow", boolean}, {"since", timestamp}, {"stderr", boolean},
			{"stdout", boolean}, {"tail", tail}, {"timestamps", boolean}, {"until", timestamp},
		},
	},
	{
		Operation: ContainerTop, Route: "/containers/{container}/top", OptIn: OptInTop,
		params: []param{{"ps_args", pinned}},
	},
	{
		Operation: ImageList, Route: "/images/json",
		params: []param{
			{"all", boolean}, {"filters", filters}, {"identity", costly}, {"manifests", costly}, {"shared-size", costly},
		},
	},
	{
		Operation: ImageInspect, Route: "/images/{image}/json",
		params: []param{{"identity", costly}, {"manifests", costly}},
	},
	{Operation: ImageHistory, Route: "/images/{image}/history", OptIn: OptInImageHistory},
	{Operation: VolumeList, Route: "/volumes", params: []param{{"filters", filters}}},
	{Operation: VolumeInspect, Route: "/volumes/{name}"},
	{Operation: NetworkList, Route: "/networks", params: []param{{"filters", filters}}},
	{
		Operation: NetworkInspect, Route: "/networks/{name}",
		params: []param{{"scope", scope}, {"verbose", costly}},
	},
	{Operation: PluginList, Route: "/plugins", OptIn: OptInPlugins, params: []param{{"filters", filters}}},
	{Operation: PluginInspect, Route: "/plugins/{image}/json", Local: true},
	{
		Operation: SystemDF, Route: "/system/df", OptIn: OptInDF,
		params: []param{{"type", diskObjects}, {"verbose", costly}},
	},
	{Operation: NodeList, Route: "/nodes", OptIn: OptInSwarm, params: []param{{"filters", filters}}},
	{Operation: NodeInspect, Route: "/nodes/{container}", OptIn: OptInSwarm},
	{
		Operation: ServiceList, Route: "/services", OptIn: OptInSwarm,
		params: []param{{"filters", filters}, {"status", boolean}},
	},
	{
		Operation: ServiceInspect, Route: "/services/{container}", OptIn: OptInSwarm,
		params: []param{{"insertDefaults", boolean}},
	},
	{
		Operation: ServiceLogs, Route: "/services/{container}/logs", OptIn: OptInLogs, stream: streams{"follow", false},
		params: swarmLogs,
	},
	{Operation: TaskList, Route: "/tasks", OptIn: OptInSwarm, params: []param{{"filters", filters}}},
	{Operation: TaskInspect, Route: "/tasks/{container}", OptIn: OptInSwarm},
	{
		Operation: TaskLogs, Route: "/tasks/{container}/logs", OptIn: OptInLogs, stream: streams{"follow", false},
		params: swarmLogs,
	},
	{Operation: SwarmInspect, Route: "/swarm", OptIn: OptInSwarm},
}

// swarmLogs differ from a container's in that there is no end to give.
var swarmLogs = []param{
	{"details", hidden}, {"follow", boolean}, {"since", timestamp}, {"stderr", boolean},
	{"stdout", boolean}, {"tail", tail}, {"timestamps", boolean},
}

// filterKeys lists the filters of each operation, in the order of the API
// document, with those that engines since API 1.24 also know. Not listed:
// annotation, because annotations are not shown.
var filterKeys = map[Operation][]string{
	Events: {
		"config", "container", "daemon", "event", "image", "label", "network", "node",
		"plugin", "scope", "secret", "service", "type", "volume",
	},
	ContainerList: {
		"ancestor", "before", "expose", "exited", "health", "id", "isolation", "is-task",
		"label", "name", "network", "publish", "since", "status", "volume",
	},
	ImageList:   {"before", "dangling", "label", "reference", "since", "until"},
	VolumeList:  {"dangling", "driver", "label", "name"},
	NetworkList: {"dangling", "driver", "id", "label", "name", "scope", "type"},
	PluginList:  {"capability", "enabled"},
	NodeList:    {"id", "label", "membership", "name", "node.label", "role"},
	ServiceList: {"id", "label", "mode", "name", "runtime"},
	TaskList:    {"desired-state", "id", "label", "name", "node", "runtime", "service"},
}
