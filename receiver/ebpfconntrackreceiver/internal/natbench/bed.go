package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/ownthread"
)

// The addresses of the bed: those that RFC 2544 reserves for benchmarks. Each of the
// client's workers has one of its own, so that their ports suffice.
const (
	clientNetwork = "198.18.1."
	clientFirst   = 2
	routerInside  = "198.18.1.1"
	routerOutside = "198.18.2.1"
	serverAddress = "198.18.2.2"
	publishedPort = 8080
	serverPort    = 80
)

const rules = `
table ip bench {
 chain pre { type nat hook prerouting priority dstnat; ip daddr 198.18.1.1 tcp dport 8080 dnat to 198.18.2.2:80; }
 chain post { type nat hook postrouting priority srcnat; oifname "outside" masquerade; }
}
`

func published() netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(routerInside), publishedPort)
}

func server() netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(serverAddress), serverPort)
}

// bed is the three network namespaces.
type bed struct {
	client, router, server string // names of namespaces
	made                   []string
}

// newBed makes them. Close also what comes with an error.
func newBed(ctx context.Context) (*bed, error) {
	name := func(what string) string { return fmt.Sprintf("tlybench%d%s", os.Getpid(), what) }
	b := &bed{client: name("c"), router: name("r"), server: name("s")}
	for _, ns := range []string{b.client, b.router, b.server} {
		if err := command(ctx, "ip", "netns", "add", ns); err != nil {
			return b, err
		}
		b.made = append(b.made, ns)
	}
	c, r, s := b.client, b.router, b.server
	lines := []string{
		"ip -n " + r + " link add inside type veth peer name eth0 netns " + c,
		"ip -n " + r + " link add outside type veth peer name eth0 netns " + s,
		"ip -n " + r + " addr add " + routerInside + "/24 dev inside",
		"ip -n " + r + " addr add " + routerOutside + "/24 dev outside",
		"ip -n " + s + " addr add " + serverAddress + "/24 dev eth0",
	}
	for i := range workers {
		lines = append(lines, fmt.Sprintf("ip -n %s addr add %s/24 dev eth0", c, clientAddress(i)))
	}
	lines = append(lines,
		"ip -n "+r+" link set inside up", "ip -n "+r+" link set outside up",
		"ip -n "+c+" link set eth0 up", "ip -n "+s+" link set eth0 up",
		"ip -n "+c+" route add default via "+routerInside,
		"ip netns exec "+r+" sysctl -q -w net.ipv4.ip_forward=1",
		// Ports of closed connections are needed again within the minute that
		// they would rest.
		"ip netns exec "+c+" sysctl -q -w net.ipv4.tcp_tw_reuse=1",
	)
	for _, line := range lines {
		if err := command(ctx, strings.Fields(line)...); err != nil {
			return b, err
		}
	}
	return b, b.setRules(ctx)
}

func clientAddress(worker int) string { return fmt.Sprintf("%s%d", clientNetwork, clientFirst+worker) }

func (b *bed) setRules(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", b.router, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("set rules: %w: %s", err, out)
	}
	return nil
}

func command(ctx context.Context, argv ...string) error {
	if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("run %q: %w: %s", strings.Join(argv, " "), err, out)
	}
	return nil
}

// close deletes the namespaces, whatever became of the run.
func (b *bed) close() error {
	var all []error
	for _, ns := range b.made {
		all = append(all, command(context.Background(), "ip", "netns", "del", ns))
	}
	return errors.Join(all...)
}

// flush empties the router's conntrack, and returns the CPU time that it took.
func (b *bed) flush(ctx context.Context) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", b.router, "conntrack", "-F")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("flush conntrack: %w: %s", err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

func netnsPath(ns string) string { return "/run/netns/" + ns }

func inode(ns string) (uint64, error) {
	var info unix.Stat_t
	if err := unix.Stat(netnsPath(ns), &info); err != nil {
		return 0, fmt.Errorf("identify network namespace %s: %w", ns, err)
	}
	return info.Ino, nil
}

// inside runs f on a thread in the namespace, which ends with f. Processes that f
// starts are there.
func inside(ns string, f func() error) error {
	file, err := os.Open(netnsPath(ns))
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer file.Close()
	ownthread.Do(func() {
		if err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter network namespace %s: %w", ns, err)
			return
		}
		err = f()
	})
	return err
}
