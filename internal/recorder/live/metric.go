package live

import "go.opentelemetry.io/collector/pdata/pcommon"

// Metric is one headline number.
type Metric uint8

// The headline numbers, in the order of a row.
const (
	CPU               Metric = iota // {cpu} in use
	CPULimit                        // {cpu}
	Memory                          // By
	MemoryLimit                     // By, the lowest that counts
	MemoryUtilization               // 1, of that limit
	Throttled                       // 1, share of the scheduler's periods that ended throttled
	CPUPressure                     // 1, share of time in which some task stalled
	MemoryPressure                  // 1
	IOPressure                      // 1
	IORead                          // By/s, block devices
	IOWrite                         // By/s
	NetworkReceive                  // By/s
	NetworkTransmit                 // By/s
	Pids                            // {task}
	Connections                     // {connection}, TCP established
	ConnectionsFailed               // {connection}/s, refused, unreachable or timed out
	Metrics           int    = iota // how many there are
)

// Column describes a metric to those who read rows.
type Column struct{ Name, Unit string }

// Columns returns them in the order of a row.
func Columns() []Column {
	return []Column{
		{"cpu", "{cpu}"},
		{"cpu_limit", "{cpu}"},
		{"memory", "By"},
		{"memory_limit", "By"},
		{"memory_utilization", "1"},
		{"throttled", "1"},
		{"psi_cpu", "1"},
		{"psi_memory", "1"},
		{"psi_io", "1"},
		{"io_read", "By/s"},
		{"io_write", "By/s"},
		{"net_rx", "By/s"},
		{"net_tx", "By/s"},
		{"pids", "{task}"},
		{"connections", "{connection}"},
		{"connections_failed", "{connection}/s"},
	}
}

// slot is a number as it is measured: a gauge, or a counter of which the rate is
// wanted.
type slot uint8

// The slots: gauges, then counters.
const (
	cpuUsage slot = iota
	cpuLimit
	memoryUsage
	memoryLimit
	memoryUtilization
	pids
	established

	periodsThrottled
	periodsFree
	cpuStall
	memoryStall
	ioStall
	diskRead
	diskWrite
	netReceive
	netTransmit
	failed

	slots
)

// route says which points of a metric belong to a slot. Their numbers are added
// up: interfaces, devices, directions.
type route struct {
	to slot
	// key and values choose points by an attribute; an empty key takes all.
	key    string
	values []string
	// zero: points that are not chosen count as 0, so that the slot is known from
	// the first point of the metric on. It is for outcomes that are rare.
	zero bool
}

// routes are the metrics of TELEMETRY.md that are shown.
var routes = map[string][]route{
	"container.cpu.usage":                    {{to: cpuUsage}},
	"container.cpu.limit":                    {{to: cpuLimit}},
	"container.memory.usage":                 {{to: memoryUsage}},
	"container.memory.limit":                 {{to: memoryLimit}},
	"container.memory.utilization":           {{to: memoryUtilization}},
	"container.cpu.throttling.periods":       {{to: periodsThrottled, key: "cpu.throttled", values: []string{"true"}}, {to: periodsFree, key: "cpu.throttled", values: []string{"false"}}},
	"container.cpu.pressure.total":           {{to: cpuStall, key: "psi.type", values: []string{"some"}}},
	"container.memory.pressure.total":        {{to: memoryStall, key: "psi.type", values: []string{"some"}}},
	"container.io.pressure.total":            {{to: ioStall, key: "psi.type", values: []string{"some"}}},
	"system.cpu.pressure.total":              {{to: cpuStall, key: "psi.type", values: []string{"some"}}},
	"system.memory.pressure.total":           {{to: memoryStall, key: "psi.type", values: []string{"some"}}},
	"system.io.pressure.total":               {{to: ioStall, key: "psi.type", values: []string{"some"}}},
	"container.disk.io":                      {{to: diskRead, key: "disk.io.direction", values: []string{"read"}}, {to: diskWrite, key: "disk.io.direction", values: []string{"write"}}},
	"container.network.io":                   {{to: netReceive, key: "network.io.direction", values: []string{"receive"}}, {to: netTransmit, key: "network.io.direction", values: []string{"transmit"}}},
	"system.network.io":                      {{to: netReceive, key: "network.io.direction", values: []string{"receive"}}, {to: netTransmit, key: "network.io.direction", values: []string{"transmit"}}},
	"container.pids.count":                   {{to: pids}},
	"container.network.tcp.connection.count": {{to: established, key: "network.connection.state", values: []string{"established"}}},
	"system.network.tcp.connection.count":    {{to: established, key: "network.connection.state", values: []string{"established"}}},
	"container.connection.count":             {{to: failed, key: "connection.outcome", values: []string{"failed", "timeout"}, zero: true}},
}

// gauges are the metrics that are a slot as it is.
var gauges = [...]struct {
	metric Metric
	from   slot
}{
	{CPU, cpuUsage}, {CPULimit, cpuLimit}, {Memory, memoryUsage}, {MemoryLimit, memoryLimit},
	{MemoryUtilization, memoryUtilization}, {Pids, pids}, {Connections, established},
}

// rates are the metrics that are the rate of a slot.
var rates = [...]struct {
	metric Metric
	from   slot
}{
	{CPUPressure, cpuStall}, {MemoryPressure, memoryStall}, {IOPressure, ioStall},
	{IORead, diskRead}, {IOWrite, diskWrite}, {NetworkReceive, netReceive}, {NetworkTransmit, netTransmit},
	{ConnectionsFailed, failed},
}

// chooses tells whether a point with these attributes belongs to the route.
func (r *route) chooses(attributes pcommon.Map) bool {
	if r.key == "" {
		return true
	}
	v, ok := attributes.Get(r.key)
	if !ok {
		return false
	}
	text := v.Str()
	if v.Type() == pcommon.ValueTypeBool {
		text = boolText(v.Bool())
	}
	for _, wanted := range r.values {
		if text == wanted {
			return true
		}
	}
	return false
}

func boolText(b bool) string {
	if b {
		return "true"
	}
	return "false"
}
