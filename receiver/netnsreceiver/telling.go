package netnsreceiver

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/tallymanhq/tallyman/internal/cadence"
	"github.com/tallymanhq/tallyman/internal/netns"
)

// telling remembers of each namespace what was read last, so that what has not
// changed need not be told again: 1 KiB for each, and 150 bytes for each interface
// that is shown. All but leftOut belongs to the scrape.
type telling struct {
	// devices and protocols are how often what does not change is told.
	devices, protocols cadence.Cadence
	namespaces         map[uint64]*lastReading // by inode
	// shown are the interfaces that are being looked at.
	shown []netns.Interface
	// pass counts scrapes, begun the namespaces that were ever seen.
	pass, begun uint64
	// leftOut counts readings of interfaces or protocols that were not told.
	leftOut *atomic.Uint64
}

// lastReading is what was read last of one namespace, told or not.
type lastReading struct {
	owner string // cgroup path, "" for the host
	start time.Time
	pass  uint64

	interfaces         []netns.Interface
	values             protocolValues
	interfacesAt       time.Time // when that was
	valuesAt           time.Time
	devices, protocols cadence.Steps
}

// protocolValues are all that is emitted of a namespace but for its interfaces. They
// are compared with ==, so that nothing can be forgotten.
type protocolValues struct {
	have      netns.Part
	tcp       netns.TCP
	udp       netns.UDP
	conntrack netns.Conntrack
}

func newTelling(cfg *Config) telling {
	slow := cfg.CollectionInterval * time.Duration(cfg.protocolEvery())
	return telling{
		devices:    cadence.New(cfg.CollectionInterval, cfg.UnchangedInterval),
		protocols:  cadence.New(slow, cfg.UnchangedInterval),
		namespaces: map[uint64]*lastReading{},
		leftOut:    new(atomic.Uint64),
	}
}

// of returns the last reading of a namespace, an empty one if it is new or has
// another owner: its series are others then.
func (t *telling) of(n *netns.Namespace) *lastReading {
	owner := ""
	if o := n.Owner(); o != nil {
		owner = o.Path
	}
	last := t.namespaces[n.Inode]
	if last == nil || last.owner != owner {
		last = &lastReading{owner: owner, start: n.Start, devices: cadence.Begin(t.begun), protocols: cadence.Begin(t.begun)}
		t.begun++
		t.namespaces[n.Inode] = last
	}
	last.pass = t.pass
	return last
}

// forget gives up the namespaces that were not in this scrape.
func (t *telling) forget() {
	for inode, last := range t.namespaces {
		if last.pass != t.pass {
			delete(t.namespaces, inode)
		}
	}
}

// verdict says of a group of numbers whether they are to be told, and whether those
// read before them have to be told first.
type verdict struct{ tell, before bool }

// judge compares the interfaces in shown and the protocols, as far as they were read,
// with those read before.
func (t *telling) judge(last *lastReading, n *netns.Namespace, v *protocolValues) (devices, protocols verdict) {
	began := !last.start.Equal(n.Start) // another namespace has got the number
	if n.Sample.Have&netns.PartDevices != 0 {
		devices.tell, devices.before = last.devices.Next(t.devices, began || !slices.Equal(last.interfaces, t.shown))
		t.count(devices)
	}
	if v.have != 0 {
		protocols.tell, protocols.before = last.protocols.Next(t.protocols, began || last.values != *v)
		t.count(protocols)
	}
	return devices, protocols
}

func (t *telling) count(v verdict) {
	if !v.tell {
		t.leftOut.Add(1)
	}
}

// keep copies what was read now.
func (t *telling) keep(last *lastReading, n *netns.Namespace, v *protocolValues, now time.Time) {
	last.start = n.Start
	if n.Sample.Have&netns.PartDevices != 0 {
		last.interfaces, last.interfacesAt = append(last.interfaces[:0], t.shown...), now
	}
	if v.have != 0 {
		last.values, last.valuesAt = *v, now
	}
}

// valuesOf are the protocols that were read now. What was not is left zero: it may
// be old, and is not emitted.
func valuesOf(s *netns.Sample) protocolValues {
	v := protocolValues{have: s.Have &^ netns.PartDevices}
	if v.have&(netns.PartSNMP|netns.PartSockstat|netns.PartNetstat) != 0 {
		v.tcp = s.TCP
	}
	if v.have&netns.PartUDP != 0 {
		v.udp = s.UDP
	}
	if v.have&netns.PartConntrack != 0 {
		v.conntrack = s.Conntrack
	}
	return v
}
