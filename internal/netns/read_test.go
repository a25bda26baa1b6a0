package netns

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func eth(name string, n uint64) device {
	return device{name: []byte(name), receive: Counters{n, n, 0, 0}, transmit: Counters{n, n, 0, 0}}
}

func TestReadTakesEverything(t *testing.T) {
	r := newRig(t)
	r.write("proc/sys/net/netfilter/nf_conntrack_max", "262144\n")
	r.process(100, 50, "")
	r.devices(100, eth("lo", 1), eth("eth0", 2))
	r.container("a", 100)
	n := r.read(1, true)
	require.Equal(t, PartDevices|PartSNMP|PartNetstat|PartSockstat|PartUDP|PartConntrack, n.Sample.Have)
	require.Equal(t, TCP{
		ActiveOpens: 1, PassiveOpens: 2, EstabResets: 3, Established: 4, RetransSegs: 5,
		ListenOverflows: 6, ListenDrops: 7, TimeWait: 8,
	}, n.Sample.TCP)
	require.Equal(t, UDP{
		InDatagrams: 110, NoPorts: 11, InErrors: 12, OutDatagrams: 13, RcvbufErrors: 14, SndbufErrors: 15, InCsumErrors: 16,
	}, n.Sample.UDP)
	require.Equal(t, Conntrack{Count: 10, Limit: 262144}, n.Sample.Conntrack)
	require.Len(t, n.Sample.Interfaces, 2)
	require.Equal(t, n.Start, n.Sample.Interfaces[1].Start)

	n = r.read(1, false)
	require.Equal(t, PartDevices, n.Sample.Have, "the protocols were not asked for")
}

// What is not there is no problem; what is broken costs its own part.
func TestBrokenAndMissingFiles(t *testing.T) {
	f := func(file string, lost Part) {
		t.Helper()
		r := newRig(t)
		r.write("proc/1/"+file, "garbage\n")
		n := r.read(0, true)
		all := PartDevices | PartSNMP | PartNetstat | PartSockstat | PartUDP | PartConntrack
		if n.Sample.Have != all&^lost {
			t.Errorf("%s: have %b, want %b", file, n.Sample.Have, all&^lost)
		}
		if got := r.tracker.Stats().ParseErrors[file]; got != 1 {
			t.Errorf("%s: %d parse errors: %v", file, got, r.tracker.Stats())
		}
		if file == fileDev {
			return // without it a namespace counts as gone
		}
		require.NoError(t, os.Remove(filepath.Join(r.root, "proc/1", file)))
		n = r.read(0, true)
		require.Equal(t, all&^lost, n.Sample.Have, file)
		require.Equal(t, uint64(1), r.tracker.Stats().ParseErrors[file], file)
	}
	f(fileDev, PartDevices)
	f(fileSNMP, PartSNMP|PartUDP)
	f(fileNetstat, PartNetstat)
	f(fileSockstat, PartSockstat)
	f(fileConntrack, PartConntrack)
}

// A sum that lost one of its addends would look like a counter that was set
// back.
func TestIPv6ComesAndGoes(t *testing.T) {
	r := newRig(t)
	require.Equal(t, uint64(110), r.read(0, true).Sample.UDP.InDatagrams)
	require.NoError(t, os.Remove(filepath.Join(r.root, "proc/1", fileSNMP6)))
	start := r.tracker.host.Start
	require.Zero(t, r.read(0, true).Sample.Have&PartUDP)
	r.write("proc/1/"+fileSNMP6, "Udp6InDatagrams\t101\n")
	n := r.read(0, true)
	require.Equal(t, uint64(111), n.Sample.UDP.InDatagrams)
	require.Equal(t, start, n.Start)

	without := newRig(t)
	require.NoError(t, os.Remove(filepath.Join(without.root, "proc/1", fileSNMP6)))
	require.Equal(t, uint64(10), without.read(0, true).Sample.UDP.InDatagrams, "a kernel without IPv6")
}

// An interface that was made, or made again, counts from the last read
// before; the others go on.
func TestInterfacesComeGoAndRestart(t *testing.T) {
	r := newRig(t)
	start := r.tracker.o.Boot
	f := func(list []device, want map[string]time.Time) {
		t.Helper()
		r.devices(1, list...)
		n := r.read(0, false)
		got := map[string]time.Time{}
		for _, i := range n.Sample.Interfaces {
			got[i.Name] = i.Start
		}
		require.Equal(t, want, got)
	}
	f([]device{eth("lo", 5), eth("eth0", 100)}, map[string]time.Time{"lo": start, "eth0": start})
	first := r.now
	f([]device{eth("lo", 5), eth("eth0", 100), eth("eth1", 7)}, map[string]time.Time{"lo": start, "eth0": start, "eth1": first})
	second := r.now
	f([]device{eth("lo", 6), eth("eth0", 99), eth("eth1", 8)}, map[string]time.Time{"lo": start, "eth0": second, "eth1": first})
	f([]device{eth("eth1", 9)}, map[string]time.Time{"eth1": first})
	fourth := r.now
	f([]device{eth("eth1", 9), eth("lo", 6)}, map[string]time.Time{"eth1": first, "lo": fourth})
}

// The kernel gives the number of a namespace that is gone to a new one: seen
// by counters that went back.
func TestNamespaceNumberIsReused(t *testing.T) {
	r := newRig(t)
	r.process(100, 50, "")
	r.container("a", 100)
	n := r.read(1, true)
	start, before := n.Start, r.now
	require.Equal(t, start, r.read(1, false).Start)
	r.write("proc/100/"+fileNetstat, "TcpExt: ListenOverflows ListenDrops\nTcpExt: 0 7\n")
	require.Equal(t, before, r.read(1, true).Start, "the last time the protocols were read")
}

// The namespace is read through any of its members.
func TestMemberVanishesBeforeTheRead(t *testing.T) {
	r := newRig(t)
	r.process(100, 50, "")
	r.process(101, 60, "100")
	r.container("a", 100)
	r.container("b", 101)
	require.Equal(t, []string{"ab"}, r.refresh())
	n := r.tracker.Refresh()[1]
	// The files stay where b's link leads; a's directory loses its own.
	require.NoError(t, os.Rename(filepath.Join(r.root, "proc/100/net"), filepath.Join(r.root, "net")))
	require.NoError(t, os.Remove(filepath.Join(r.root, "proc/101/net")))
	require.NoError(t, os.Symlink(filepath.Join(r.root, "net"), filepath.Join(r.root, "proc/101/net")))
	require.True(t, r.tracker.Read(n, true))
	require.Zero(t, r.tracker.Stats().Vanished)

	require.NoError(t, os.Remove(filepath.Join(r.root, "proc/101/net")))
	require.False(t, r.tracker.Read(n, true))
	require.Zero(t, n.Sample.Have)
	require.Equal(t, uint64(1), r.tracker.Stats().Vanished)
	require.Empty(t, r.tracker.Stats().ReadErrors, "to vanish is no error")
}

func TestInterfaceLimit(t *testing.T) {
	r := newRig(t)
	var list []device
	for i := range mostInterfaces + 3 {
		list = append(list, eth("e"+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676)), 1))
	}
	r.devices(1, list...)
	require.Len(t, r.read(0, false).Sample.Interfaces, mostInterfaces)
	require.Equal(t, uint64(3), r.tracker.Stats().DroppedInterfaces)
}

func TestPairs(t *testing.T) {
	r := newRig(t)
	link := func(name, index, peer, uevent string) {
		dir := "sys/class/net/" + name + "/"
		r.write(dir+"type", "1\n")
		r.write(dir+"ifindex", index+"\n")
		r.write(dir+"iflink", peer+"\n")
		r.write(dir+"uevent", uevent+"INTERFACE="+name+"\nIFINDEX="+index+"\n")
	}
	link("lo", "1", "1", "")
	r.write("sys/class/net/lo/type", "772\n")
	link("eth0", "2", "2", "")
	link("docker0", "3", "3", "DEVTYPE=bridge\n")
	link("vethabc", "5", "4", "")
	link("calico1", "7", "6", "")
	link("nk0", "9", "8", "DEVTYPE=netkit\n")
	link("eth0.7", "10", "2", "DEVTYPE=vlan\n")
	link("gre0", "11", "0", "")
	all := []device{eth("lo", 1), eth("eth0", 1), eth("docker0", 1), eth("vethabc", 1), eth("calico1", 1), eth("nk0", 1), eth("eth0.7", 1), eth("gre0", 1)}
	pairs := func(list ...device) []string {
		t.Helper()
		r.devices(1, list...)
		var names []string
		for _, i := range r.read(0, false).Sample.Interfaces {
			if i.Pair {
				names = append(names, i.Name)
			}
		}
		return names
	}
	require.Equal(t, []string{"vethabc", "calico1", "nk0"}, pairs(all...))
	require.Equal(t, []string{"vethabc", "calico1", "nk0"}, pairs(all...), "remembered")
	require.Equal(t, []string{"calico1", "nk0"}, pairs(append(all[:3:3], all[4:]...)...))
	// An interface that /sys does not show: it is another namespace's. What
	// was found stays, and new ones go by their names.
	require.Equal(t, []string{"calico1", "nk0", "veth9"}, pairs(append(all[:3:3], all[4], all[5], eth("veth9", 1), eth("cali9", 1))...))
}
