package peers_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

// TestMain makes this program something else where the environment says so.
func TestMain(m *testing.M) {
	if address := os.Getenv(plainEnv); address != "" {
		if err := refreshAsNobody(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	probe()
	testkit.Main(m)
}

// probe has package net find out whether there is IPv6. It does so once, at its
// first socket, and that may be in a namespace that has no ::1.
func probe() {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close()
	}
}

const patience = time.Minute

// world is a host of real network namespaces, one of which plays the host's.
type world struct {
	t      testing.TB
	table  *peers.Table
	now    time.Time
	places []*place
	opened int
}

// place is a namespace with a process in it.
type place struct {
	w   *world
	cmd *exec.Cmd
	pid int
	ns  netns.Namespace
}

func newWorld(t testing.TB, o peers.Options) *world {
	t.Helper()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "unshare", "nsenter", "ip")
	w := &world{t: t, now: time.Now()}
	o.Now = func() time.Time { return w.now }
	table, err := peers.New(o)
	require.NoError(t, err)
	w.table = table
	return w
}

// place makes a namespace with these containers; none is the host.
func (w *world) place(containers ...container.Cgroup) *place {
	w.t.Helper()
	cmd := exec.Command("unshare", "-n", "sleep", "600")
	require.NoError(w.t, cmd.Start())
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p := &place{w: w, cmd: cmd, pid: cmd.Process.Pid}
	testkit.Eventually(w.t, patience, func() error {
		line, err := os.ReadFile(p.file("cmdline"))
		if err != nil || !bytes.HasPrefix(line, []byte("sleep")) {
			return fmt.Errorf("still %q (%v)", line, err)
		}
		return nil
	})
	info, err := os.Stat(p.file("ns/net"))
	require.NoError(w.t, err)
	p.ns = netns.Namespace{Inode: info.Sys().(*syscall.Stat_t).Ino, Host: len(containers) == 0}
	p.become(containers...)
	w.places = append(w.places, p)
	return p
}

// become changes who is in the namespace.
func (p *place) become(containers ...container.Cgroup) {
	p.ns.Members = nil
	for _, c := range containers {
		p.ns.Members = append(p.ns.Members, netns.Member{Cgroup: &c})
	}
	p.ns.Changed = true
}

func box(id string) container.Cgroup {
	return container.Cgroup{Identity: container.Identity{ID: id, Class: container.ClassContainer}}
}

func sandbox(id string) container.Cgroup {
	return container.Cgroup{Identity: container.Identity{ID: id, Class: container.ClassSandbox}}
}

func (p *place) file(name string) string { return "/proc/" + strconv.Itoa(p.pid) + "/" + name }

// ip runs lines of ip(8) in the namespace.
func (p *place) ip(lines ...string) {
	p.w.t.Helper()
	cmd := exec.Command("nsenter", "-t", strconv.Itoa(p.pid), "-n", "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n"))
	out, err := cmd.CombinedOutput()
	require.NoError(p.w.t, err, "%s: %s", lines, out)
}

// bridge makes one with an address.
func (p *place) bridge(name, address string) {
	p.w.t.Helper()
	p.ip("link add "+name+" type bridge", "link set "+name+" up", "addr add "+address+" dev "+name)
}

// plug gives a child an interface with an address at a bridge; "" is a pair
// without a bridge.
func (p *place) plug(bridge string, child *place, address string) {
	p.w.t.Helper()
	near, far := fmt.Sprintf("veth%d", child.pid), fmt.Sprintf("eth%d", p.pid)
	p.ip(fmt.Sprintf("link add %s type veth peer name %s netns %d", near, far, child.pid), "link set "+near+" up")
	if bridge != "" {
		p.ip("link set " + near + " master " + bridge)
	}
	if strings.Contains(address, ":") {
		far += " nodad" // it is good at once, without a search for duplicates
	}
	child.ip("addr add "+address+" dev "+far, "link set eth"+strconv.Itoa(p.pid)+" up")
}

// kill ends the namespace: nothing else holds it.
func (p *place) kill() {
	p.w.t.Helper()
	require.NoError(p.w.t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
}

// gone ends a namespace, and takes it out of those that are told.
func (w *world) gone(p *place) {
	w.t.Helper()
	p.kill()
	for i := range w.places {
		if w.places[i] == p {
			w.places = append(w.places[:i], w.places[i+1:]...)
			return
		}
	}
	w.t.Fatal("it is not there")
}

// refresh refreshes, a minute later, so that all are due.
func (w *world) refresh() {
	w.t.Helper()
	w.now = w.now.Add(time.Minute)
	var all []*netns.Namespace
	for _, p := range w.places {
		all = append(all, &p.ns)
	}
	w.table.Refresh(all, w.open)
	for _, p := range w.places {
		p.ns.Changed = false
	}
	require.NoError(w.t, w.table.Stats().Last)
}

func (w *world) open(n *netns.Namespace) (*os.File, error) {
	w.opened++
	for _, p := range w.places {
		if &p.ns != n {
			continue
		}
		f, err := os.Open(p.file("ns/net"))
		if errors.Is(err, fs.ErrNotExist) {
			err = hostfs.ErrGone
		}
		return f, err
	}
	return nil, hostfs.ErrGone
}

// ask asks from a place, nil for nowhere.
func (w *world) ask(from *place, address string) peers.Peer {
	w.t.Helper()
	q := peers.Question{}
	if from != nil {
		q.From = from.ns.Inode
	}
	if port, err := netip.ParseAddrPort(address); err == nil {
		q.Addr = port
	} else {
		q.Addr = netip.AddrPortFrom(netip.MustParseAddr(address), 0)
	}
	p, ok := w.table.Lookup(q)
	require.True(w.t, ok)
	return p
}

// who is the answer in short.
func (w *world) who(from *place, address string) string {
	w.t.Helper()
	p := w.ask(from, address)
	switch p.Kind {
	case peers.Container:
		if p.Container == "" {
			return strings.Join(p.Containers, "+")
		}
		return p.Container
	case peers.Host:
		return "host " + p.Interface
	case peers.Group:
		return "group " + p.Group
	}
	return "ambiguous"
}

// run runs a command in the namespace; of nft(8) what it is to load.
func (p *place) run(name string, args ...string) {
	p.w.t.Helper()
	cmd := exec.Command("nsenter", "-t", strconv.Itoa(p.pid), "-n", name)
	if name == "nft" {
		cmd.Stdin = strings.NewReader(strings.Join(args, "\n"))
		args = []string{"-f", "-"}
	}
	cmd.Args = append(cmd.Args, args...)
	out, err := cmd.CombinedOutput()
	require.NoError(p.w.t, err, "%s %s: %s", name, args, out)
}
