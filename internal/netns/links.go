package netns

import (
	"bytes"
	"path/filepath"
	"strings"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// links tells the host's own interfaces from the near ends of pairs whose far
// ends are in containers: their traffic is the containers', and is counted
// there. It looks into /sys/class/net, which shows the namespace of whoever
// mounted it, not necessarily the host's.
type links struct {
	dir string // /sys/class/net
}

// etherType is ARPHRD_ETHER (include/uapi/linux/if_arp.h).
const etherType = 1

// mark sets Pair of the interfaces that are new. It returns scratch, grown.
func (l *links) mark(interfaces []Interface, scratch []byte) []byte {
	asked, ours := false, false
	for i := range interfaces {
		n := &interfaces[i]
		if !n.fresh {
			continue
		}
		if !asked {
			asked, ours = true, l.shows(interfaces)
		}
		if !ours {
			// What container runtimes call their pairs.
			n.Pair = strings.HasPrefix(n.Name, "veth")
			continue
		}
		n.Pair, scratch = l.isPair(n.Name, scratch)
	}
	return scratch
}

// shows reports whether the directory shows these interfaces: all of them,
// not just some with the usual names.
func (l *links) shows(interfaces []Interface) bool {
	for i := range interfaces {
		dir, err := hostfs.OpenDir(filepath.Join(l.dir, interfaces[i].Name))
		if err != nil {
			return false
		}
		dir.Close()
	}
	return true
}

// isPair recognises veth and netkit devices. Of the Ethernet devices that are
// linked to another one (VLANs, macvlans, bridges' ports are not) they alone
// have no type of device, or "netkit".
func (l *links) isPair(name string, scratch []byte) (bool, []byte) {
	dir, err := hostfs.OpenDir(filepath.Join(l.dir, name))
	if err != nil {
		return false, scratch
	}
	defer dir.Close()
	read := func(file string) (uint64, bool) {
		var err error
		scratch, err = dir.ReadFile(file, scratch)
		n, ok := number(trimLine(scratch), 10)
		return n, ok && err == nil
	}
	kind, ok := read("type")
	if !ok || kind != etherType {
		return false, scratch
	}
	index, ok := read("ifindex")
	link, ok2 := read("iflink")
	if !ok || !ok2 || link == index || link == 0 {
		return false, scratch
	}
	scratch, err = dir.ReadFile("uevent", scratch)
	if err != nil {
		return false, scratch
	}
	_, devtype, typed := bytes.Cut(scratch, []byte("DEVTYPE="))
	return !typed || bytes.HasPrefix(devtype, []byte("netkit\n")), scratch
}

func trimLine(b []byte) []byte { return bytes.TrimRight(b, "\n") }
