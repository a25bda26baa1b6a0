package ebpfconntrackreceiver

import (
	"fmt"
	"net/netip"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/procstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/metadata"
)

// diary is the log records of one batch: one resource for each container.
type diary struct {
	logs    plog.Logs
	version string
	seen    pcommon.Timestamp
	scopes  map[string]plog.ScopeLogs
}

func newDiary(version string) *diary {
	return &diary{logs: plog.NewLogs(), version: version, seen: stamp(time.Now()), scopes: map[string]plog.ScopeLogs{}}
}

func (d *diary) scope(c container.Identity) plog.ScopeLogs {
	scope, ok := d.scopes[c.ID]
	if ok {
		return scope
	}
	rl := d.logs.ResourceLogs().AppendEmpty()
	describe(rl.Resource().Attributes(), c)
	scope = rl.ScopeLogs().AppendEmpty()
	scope.Scope().SetName(metadata.ScopeName)
	scope.Scope().SetVersion(d.version)
	d.scopes[c.ID] = scope
	return scope
}

// entry is a log record without its attributes.
type entry struct {
	event, body string
	at          time.Time
	isWarning   bool
}

func (d *diary) record(of container.Identity, e entry) pcommon.Map {
	r := d.scope(of).LogRecords().AppendEmpty()
	r.SetEventName(e.event)
	r.Body().SetStr(e.body)
	r.SetTimestamp(stamp(e.at))
	r.SetObservedTimestamp(d.seen)
	r.SetSeverityNumber(plog.SeverityNumberInfo)
	r.SetSeverityText("INFO")
	if e.isWarning {
		r.SetSeverityNumber(plog.SeverityNumberWarn)
		r.SetSeverityText("WARN")
	}
	return r.Attributes()
}

// connection tells of one that has ended.
func (d *diary) connection(of container.Identity, f *flight, name func(netip.Addr) string) {
	r := &f.record
	to := d.record(of, entry{
		event: "network.connection.closed", body: f.sentence(), at: procstream.WallTime(r.Ended),
		isWarning: r.Outcome == connstream.Failed || r.Outcome == connstream.Timeout,
	})
	to.EnsureCapacity(24)
	to.PutStr("network.transport", tcp)
	to.PutStr("network.type", networkType(r.Local.Addr()))
	to.PutStr("network.direction", directionNames[f.direction])
	to.PutStr("connection.outcome", r.Outcome.String())
	f.putEnds(to, name)
	if r.PID > 0 {
		to.PutInt("process.pid", int64(r.PID))
		to.PutStr("process.executable.name", utf8(r.Command()))
	}
	if f.found.Proxied {
		to.PutBool("connection.proxied", true)
	}
	if f.unusual {
		to.PutBool("connection.unusual", true)
	}
	if f.suppressed > 0 {
		to.PutInt("connection.suppressed", int64(f.suppressed))
	}
	f.putFigures(to)
}

// end is one end of a connection.
type end struct {
	// really is its address, seen what the other end takes it for.
	really, seen netip.AddrPort
	owner        string
}

// ends are the client and the server.
func (f *flight) ends() (source, destination end) {
	r, other := &f.record, ""
	if p := f.edgePeer(); p.Kind == edges.Container {
		other = p.ID
	}
	own := end{really: r.Local, seen: f.real.Local, owner: f.owner}
	far := end{really: f.remote(), seen: r.Remote, owner: other}
	if f.direction == edges.Outgoing {
		return own, far
	}
	return far, own
}

// putEnds writes the client as source and the server as destination, as they really
// are, and under nat what the other end took them for. Who is nobody that is known
// may have a name.
func (f *flight) putEnds(to pcommon.Map, name func(netip.Addr) string) {
	source, destination := f.ends()
	source.put(to, "source")
	destination.put(to, "destination")
	peer := f.edgePeer()
	if name == nil || peer.Kind != edges.Group && peer.Kind != edges.Unknown {
		return
	}
	key := "destination.domain"
	if f.direction == edges.Incoming {
		key = "source.domain"
	}
	if domain := name(f.remote().Addr()); domain != "" {
		to.PutStr(key, utf8(domain))
	}
}

func (e *end) put(to pcommon.Map, side string) {
	to.PutStr(side+".address", e.really.Addr().Unmap().String())
	to.PutInt(side+".port", int64(e.really.Port()))
	if e.seen != e.really {
		to.PutStr(side+".nat.address", e.seen.Addr().Unmap().String())
		to.PutInt(side+".nat.port", int64(e.seen.Port()))
	}
	if e.owner != "" {
		to.PutStr(side+".container.id", utf8(e.owner))
	}
}

func (f *flight) putFigures(to pcommon.Map) {
	r := &f.record
	to.PutInt("connection.io.sent", int64(r.Sent))
	to.PutInt("connection.io.received", int64(r.Received))
	to.PutInt("connection.retransmits", int64(r.Retransmits))
	for _, d := range [...]struct {
		key   string
		value time.Duration
	}{{"connection.rtt", f.rtt()}, {"connection.duration", f.duration()}, {"connection.setup.time", f.setup()}} {
		if d.value >= 0 {
			to.PutDouble(d.key, d.value.Seconds())
		}
	}
	if r.Errno != 0 {
		to.PutStr("error.type", unix.ErrnoName(r.Errno))
	}
}

// sentence says it in words.
func (f *flight) sentence() string {
	source, destination := f.ends()
	how := map[connstream.Outcome]string{
		connstream.Closed: "closed", connstream.Reset: "reset", connstream.Failed: "failed", connstream.Timeout: "timed out",
	}[f.record.Outcome]
	return fmt.Sprintf("Connection from %s to %s %s.", source.really, destination.really, how)
}

func networkType(a netip.Addr) string {
	if a.Unmap().Is4() {
		return "ipv4"
	}
	return "ipv6"
}

// process tells of a program that was started, or has ended.
func (d *diary) process(e *hostview.ProcessEvent) {
	var of container.Identity
	if e.Container != nil {
		of = e.Container.Identity
	}
	var to pcommon.Map
	switch e.Kind {
	case procstream.Executed:
		to = d.record(of, entry{event: "process.exec", body: fmt.Sprintf("Process %d executes %s.", e.PID, utf8(e.Program)), at: e.At})
		to.PutStr("process.executable.path", utf8(e.Program))
	case procstream.Exited:
		to = d.record(of, entry{event: "process.exit", body: fmt.Sprintf("Process %d (%s) ended.", e.PID, utf8(e.Comm)), at: e.At})
		putExit(to, e)
	default:
		return
	}
	to.PutInt("process.pid", int64(e.PID))
	to.PutInt("process.parent_pid", int64(e.PPID))
	if e.VPID > 0 {
		to.PutInt("process.vpid", int64(e.VPID))
	}
	to.PutStr("process.executable.name", utf8(e.Comm))
}

func putExit(to pcommon.Map, e *hostview.ProcessEvent) {
	status := e.Exit.Status
	if status.Signaled() {
		to.PutInt("process.exit.signal", int64(status.Signal()))
	} else {
		to.PutInt("process.exit.code", int64(status.ExitStatus()))
	}
	if e.Exit.OOM {
		to.PutBool("process.oom_killed", true)
	}
	to.PutDouble("process.cpu.time", e.Exit.CPUTime.Seconds())
	if e.Exit.MaxRSS > 0 {
		to.PutInt("process.memory.peak", int64(e.Exit.MaxRSS))
	}
}
