package browser_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// past is how many seconds a world has lived when a page opens.
const past = 12 * 60

// world is a host whose containers and events are made up. Its clock counts
// seconds since its begin.
type world struct {
	begin  time.Time
	roles  []*role
	events []happening
	sums   map[string]float64 // of the host
	// every is the collection interval in seconds; 0 is each second.
	every int
}

// load is what a container does in one second.
type load struct {
	cpu         float64 // cores
	mem         float64 // bytes
	read, write float64 // bytes a second
	rx, tx      float64 // bytes a second
	tasks       float64
	conns       float64
	failing     float64 // connections a second that fail
}

// role is one incarnation of a container.
type role struct {
	name, image, service, project string
	load
	// swing is the share by which the load moves, 0 to 1.
	swing              float64
	cpuLimit, memLimit float64 // 0: none
	// age is how long it had run when the world began; starts and ends are seconds
	// of the world, and ends is 0 for one that runs on.
	age          time.Duration
	starts, ends int
	restarts     int
	degraded     int // the second from which on it lacks a process; 0: never
	mood         func(second int, l *load)
	app          func(p *points, second int)

	id   string
	seed float64
	sums map[string]float64
}

// happening is a log record.
type happening struct {
	second     int
	who        *role // nil: the host
	receiver   string
	name       string
	severity   plog.SeverityNumber
	text       string
	attributes map[string]any
}

func newWorld(begin time.Time, roles []*role, events []happening) *world {
	w := &world{begin: begin, roles: roles, events: events, sums: map[string]float64{}}
	for i, r := range roles {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", r.name, i))
		r.id = hex.EncodeToString(sum[:])
		r.seed = float64(sum[0]) + float64(sum[1])/256
		r.sums = map[string]float64{}
	}
	return w
}

// at is the moment of a second.
func (w *world) at(second int) time.Time { return w.begin.Add(time.Duration(second) * time.Second) }

// began is when a container was started.
func (w *world) began(r *role) time.Time { return w.at(r.starts).Add(-r.age) }

// metrics are those of one second.
func (w *world) metrics(second int) pmetric.Metrics {
	md := pmetric.NewMetrics()
	var total load
	for _, r := range w.roles {
		if second < r.starts || r.ends > 0 && second >= r.ends {
			continue
		}
		now := r.now(second)
		w.container(md.ResourceMetrics().AppendEmpty(), r, now, second)
		total.cpu += now.cpu
		total.read += now.read + now.write
		total.rx += now.rx
	}
	w.host(md.ResourceMetrics().AppendEmpty(), total, second)
	return md
}

// now is the load of a second: the average, waves of several lengths, noise, and
// the mood of the role.
func (r *role) now(second int) load {
	l := r.load
	wave := func(phase float64) float64 {
		t := float64(second) + r.seed*7 + phase*31
		slow := math.Sin(t/97) + 0.6*math.Sin(t/23)
		return max(0.02, 1+r.swing*(0.45*slow+0.5*(noise(r.seed+phase, second)-0.5)))
	}
	l.cpu *= wave(1)
	l.mem *= 1 + 0.04*r.swing*math.Sin(float64(second)/61+r.seed)
	l.read *= wave(2)
	l.write *= wave(3)
	l.rx *= wave(4)
	l.tx *= wave(4)
	l.conns = math.Round(l.conns * wave(5))
	if r.mood != nil {
		r.mood(second, &l)
	}
	return l
}

// noise is a number from 0 to 1 that depends on nothing but its arguments.
func noise(seed float64, second int) float64 {
	x := math.Sin(seed*127.1+float64(second)*311.7) * 43758.5453
	return x - math.Floor(x)
}

func (w *world) tag(attributes pcommon.Map, r *role) {
	put := attributes.PutStr
	put("container.id", r.id)
	put("container.runtime.name", "docker")
	put("container.name", r.name)
	put("container.image.name", r.image)
	put("service.name", r.service)
	put("host.name", "host-7")
	put("os.type", "linux")
	put("container.command", r.service)
	if r.project != "" {
		put("docker.compose.project", r.project)
		put("docker.compose.service", r.service)
	}
}

// add counts up a sum of the role and returns it.
func (r *role) add(key string, delta float64) float64 {
	r.sums[key] += delta
	return r.sums[key]
}

func (w *world) container(rm pmetric.ResourceMetrics, r *role, l load, second int) {
	w.tag(rm.Resource().Attributes(), r)
	begin, at := w.began(r), w.at(second)
	throttled := 0.0
	if r.cpuLimit > 0 {
		throttled = min(0.9, max(0, (l.cpu-0.85*r.cpuLimit)/r.cpuLimit))
		l.cpu = min(l.cpu, r.cpuLimit)
	}
	p := into(rm, "cgroupreceiver", begin, at)
	p.gauge("container.uptime", "s", at.Sub(begin).Seconds())
	r.processor(p, l, throttled)
	r.memory(p, l)
	r.disk(p, l)
	degraded := 0.0
	if r.degraded > 0 && second >= r.degraded {
		degraded = 1
	}
	p.gauge("container.degraded", "1", degraded, "degraded.reason", "oom")
	r.network(into(rm, "netnsreceiver", begin, at), l)
	r.connections(into(rm, "ebpfconntrackreceiver", begin, at), l)
	p = into(rm, "containerstatusreceiver", begin, at)
	p.gauge("container.state", "1", 1, "container.state", "running")
	p.counter("container.restart.count", "{restart}", float64(r.restarts))
	if r.app != nil {
		r.app(into(rm, "udsstatsdreceiver", begin, at), second)
	}
}

func (r *role) processor(p *points, l load, throttled float64) {
	p.counter("container.cpu.time", "s", r.add("user", l.cpu*0.8), "cpu.mode", "user")
	p.counter("container.cpu.time", "s", r.add("system", l.cpu*0.2), "cpu.mode", "system")
	p.gauge("container.cpu.usage", "{cpu}", l.cpu)
	if r.cpuLimit > 0 {
		p.gauge("container.cpu.limit", "{cpu}", r.cpuLimit)
	}
	p.counter("container.cpu.throttling.time", "s", r.add("throttling", throttled*0.6))
	p.counter("container.cpu.throttling.periods", "{period}", r.add("throttled", math.Round(10*throttled)), "cpu.throttled", "true")
	p.counter("container.cpu.throttling.periods", "{period}", r.add("free", 10-math.Round(10*throttled)), "cpu.throttled", "false")
	p.counter("container.cpu.pressure.total", "s", r.add("psi cpu", min(1, 0.01*l.cpu+throttled)), "psi.type", "some")
	p.counter("container.cpu.pressure.total", "s", r.add("psi cpu full", min(1, throttled/2)), "psi.type", "full")
	p.level("container.pids.count", "{task}", l.tasks)
}

func (r *role) memory(p *points, l load) {
	p.level("container.memory.usage", "By", l.mem)
	p.level("container.memory.rss", "By", 0.7*l.mem)
	p.level("container.memory.cache", "By", 0.25*l.mem)
	p.level("container.memory.kernel", "By", 0.05*l.mem)
	p.level("container.memory.working_set", "By", 0.85*l.mem)
	pressure := 0.0
	if r.memLimit > 0 {
		p.level("container.memory.limit", "By", r.memLimit)
		p.level("container.memory.available", "By", r.memLimit-l.mem)
		p.gauge("container.memory.utilization", "1", l.mem/r.memLimit)
		pressure = max(0, l.mem/r.memLimit-0.85) * 5
	}
	p.counter("container.memory.pressure.total", "s", r.add("psi mem", min(1, pressure)), "psi.type", "some")
	p.counter("container.memory.pressure.total", "s", r.add("psi mem full", min(1, pressure/2)), "psi.type", "full")
	p.counter("container.paging.faults", "{fault}", r.add("major", pressure*40), "system.paging.fault.type", "major")
	p.counter("container.paging.faults", "{fault}", r.add("minor", 200*l.cpu), "system.paging.fault.type", "minor")
}

func (r *role) disk(p *points, l load) {
	for _, way := range []struct {
		name  string
		bytes float64
	}{{"read", l.read}, {"write", l.write}} {
		attributes := []string{"disk.io.direction", way.name, "system.device", "nvme0n1"}
		p.counter("container.disk.io", "By", r.add("disk "+way.name, math.Round(way.bytes)), attributes...)
		p.counter("container.disk.operations", "{operation}", r.add("ops "+way.name, math.Round(way.bytes/16/kib)), attributes...)
	}
	p.counter("container.io.pressure.total", "s", r.add("psi io", min(1, (l.read+l.write)/(60*mib))), "psi.type", "some")
	p.counter("container.io.pressure.total", "s", r.add("psi io full", min(1, (l.read+l.write)/(120*mib))), "psi.type", "full")
}

func (r *role) network(p *points, l load) {
	for _, way := range []struct {
		name  string
		bytes float64
	}{{"receive", l.rx}, {"transmit", l.tx}} {
		attributes := []string{"network.io.direction", way.name, "network.interface.name", "eth0"}
		p.counter("container.network.io", "By", r.add("net "+way.name, math.Round(way.bytes)), attributes...)
	}
	p.level("container.network.tcp.connection.count", "{connection}", l.conns, "network.connection.state", "established")
	p.level("container.network.tcp.connection.count", "{connection}", math.Round(l.conns/3), "network.connection.state", "time_wait")
}

func (r *role) connections(p *points, l load) {
	attributes := func(outcome string) []string {
		return []string{"network.transport", "tcp", "network.direction", "outgoing", "connection.outcome", outcome}
	}
	p.counter("container.connection.count", "{connection}", r.add("closed", math.Round(l.conns/4)), attributes("closed")...)
	p.counter("container.connection.count", "{connection}", r.add("failed", math.Round(l.failing)), attributes("failed")...)
	p.level("container.connection.active", "{connection}", l.conns, "network.transport", "tcp", "network.direction", "outgoing")
}

// host writes what the whole machine feels, and what the agent says of itself.
func (w *world) host(rm pmetric.ResourceMetrics, total load, second int) {
	rm.Resource().Attributes().PutStr("host.name", "host-7")
	rm.Resource().Attributes().PutStr("service.instance.id", "tallyman-host-7")
	add := func(key string, delta float64) float64 {
		w.sums[key] += delta
		return w.sums[key]
	}
	begin, at := w.begin.Add(-90*time.Hour), w.at(second)
	p := into(rm, "cgroupreceiver", begin, at)
	p.counter("system.cpu.pressure.total", "s", add("cpu", min(1, total.cpu/16)), "psi.type", "some")
	p.counter("system.memory.pressure.total", "s", add("memory", 0.004*noise(5, second)), "psi.type", "some")
	p.counter("system.io.pressure.total", "s", add("io", min(1, total.read/(400*mib))), "psi.type", "some")
	p = into(rm, "netnsreceiver", begin, at)
	p.counter("system.network.io", "By", add("rx", total.rx), "network.io.direction", "receive", "network.interface.name", "eth0")
	p = into(rm, "agent", begin, at)
	p.counter("otelcol_process_cpu_seconds", "s", add("agent", 0.018+0.004*noise(9, second)))
	p.gauge("otelcol_process_memory_rss", "By", 118*mib+2*mib*math.Sin(float64(second)/40))
	p.gauge("otelcol_process_runtime_heap_alloc_bytes", "By", 41*mib+float64(second%30)*0.6*mib)
}

// logs are the records of one second.
func (w *world) logs(second int) plog.Logs {
	ld := plog.NewLogs()
	for _, h := range w.events {
		if h.second != second {
			continue
		}
		rl := ld.ResourceLogs().AppendEmpty()
		if h.who != nil {
			w.tag(rl.Resource().Attributes(), h.who)
		}
		sl := rl.ScopeLogs().AppendEmpty()
		sl.Scope().SetName(scopes + h.receiver)
		r := sl.LogRecords().AppendEmpty()
		r.SetTimestamp(pcommon.NewTimestampFromTime(w.at(second).Add(137 * time.Millisecond)))
		r.SetEventName(h.name)
		r.SetSeverityNumber(h.severity)
		r.Body().SetStr(h.text)
		if err := r.Attributes().FromRaw(h.attributes); err != nil {
			panic(err) // a mistake in cast_test.go
		}
	}
	return ld
}
