package testkit

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// readyWithin is for a cold disk; a warm start takes about one second.
	readyWithin = 60 * time.Second
	// stopWithin covers the engine's own 15 s before it gives up on containers.
	stopWithin = 30 * time.Second
	// rulesWithin is how long an engine that must have iptables waits for another
	// one to give them up: sharedGrace, and a test that is about to end.
	rulesWithin = 2 * time.Minute
	// maxRunDir leaves room in the 107 bytes of a Unix socket's path for the
	// longest one below it: exec/containerd/containerd-debug.sock.
	maxRunDir = 107 - len("/exec/containerd/containerd-debug.sock") - 1
	// logTail is how much of the engine's log goes into an error.
	logTail = 4 << 10
)

var (
	errEnded    = errors.New("dockerd ended")
	errNoSubnet = errors.New("all of 10.213.0.0/16 is taken")
	errForeign  = errors.New("another engine has the chains")
)

// stopScript ends an engine. It is a script because the watchdog of the shared
// engine runs it when no Go process is left to do so.
//
//go:embed stop_engine.sh
var stopScript string

// daemon is a dockerd process with its own directories and bridge. It is not
// our child: it may outlive the test process that started it.
type daemon struct {
	dir    string // images, containers, log
	run    string // sockets and process id; short
	bridge string // network interface; unique per dir

	routes bool     // it must have iptables
	flags  []string // more of dockerd's
}

// newDaemon derives all names from dir, so that the next process with the same
// dir finds the same engine.
func newDaemon(dir string) (*daemon, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("place docker engine: %w", err)
	}
	sum := fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(dir)))
	d := &daemon{dir: dir, run: filepath.Join(dir, "run"), bridge: bridgePrefix + sum}
	if len(d.run) > maxRunDir {
		d.run = "/run/tallyman-" + sum
	}
	return d, nil
}

func (d *daemon) socket() string  { return filepath.Join(d.run, "docker.sock") }
func (d *daemon) pidFile() string { return filepath.Join(d.run, "docker.pid") }
func (d *daemon) logFile() string { return filepath.Join(d.dir, "dockerd.log") }

// engineOptions are what a host may not be able to do.
type engineOptions struct {
	storage  string
	iptables bool
}

// start brings the engine up, with less where the host cannot do all.
func (d *daemon) start(ctx context.Context, logf func(string, ...any)) error {
	if d.alive() {
		return d.waitReady(ctx)
	}
	if err := d.prepare(ctx); err != nil {
		return err
	}
	foreign, err := d.inspectRules(ctx)
	if foreign != "" && d.routes {
		foreign, err = "", d.waitForRules(ctx)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("read iptables rules: %w", err), d.stop())
	}
	if foreign != "" {
		logf("docker engine in %s: leaves iptables to the engine of %s", d.dir, foreign)
	}
	options := engineOptions{storage: "overlay2", iptables: foreign == ""}
	for {
		err := d.launch(ctx, options)
		if err == nil {
			err = d.waitReady(ctx)
		}
		if err == nil {
			return nil
		}
		next, ok := options.less(err.Error())
		if !ok || !errors.Is(err, errEnded) || d.routes && !next.iptables {
			return errors.Join(err, d.stop())
		}
		logf("docker engine in %s: trying %+v after %v", d.dir, next, err)
		options = next
	}
}

// less returns the options to try after an attempt ended with the log text.
func (o engineOptions) less(log string) (engineOptions, bool) {
	switch {
	case o.iptables && (strings.Contains(log, "iptables") || strings.Contains(log, "NAT chain")):
		o.iptables = false
	case o.storage != "vfs" && (strings.Contains(log, "overlay") || strings.Contains(log, "graphdriver")):
		o.storage = "vfs"
	default:
		return o, false
	}
	return o, true
}

// prepare makes directories, an empty configuration (the host's
// /etc/docker/daemon.json is not ours), and the bridge.
func (d *daemon) prepare(ctx context.Context) error {
	for _, dir := range []string{d.dir, d.run} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return fmt.Errorf("place docker engine: %w", err)
		}
	}
	if err := os.WriteFile(d.configFile(), []byte("{}\n"), 0o600); err != nil {
		return fmt.Errorf("configure docker engine: %w", err)
	}
	// A process killed by force leaves its id behind; dockerd would believe it
	// if another process had that id by now.
	if err := os.Remove(d.pidFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("place docker engine: %w", err)
	}
	return d.makeBridge(ctx)
}

// inspectRules leaves a note for the stop script if the host forwards packets
// by default, which the engine will change, and returns the bridge of another engine
// that uses the chains with Docker's fixed names, if there is one: starting a second
// one on them would empty them.
func (d *daemon) inspectRules(ctx context.Context) (foreign string, err error) {
	for {
		rules, err := exec.CommandContext(ctx, "iptables", "-S").Output()
		if err != nil {
			return "", nil // no iptables is for launch to find out
		}
		foreign := usedByOthers(string(rules), d.bridge)
		if foreign != "" {
			isFree, err := reclaim(ctx, foreign)
			if err != nil {
				return "", err
			}
			if isFree {
				continue
			}
		}
		if bytes.Contains(rules, []byte("-P FORWARD ACCEPT\n")) {
			err = os.WriteFile(filepath.Join(d.run, "forward.accept"), nil, 0o600)
		}
		return foreign, err
	}
}

// waitForRules waits until no other engine uses iptables.
func (d *daemon) waitForRules(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rulesWithin)
	defer cancel()
	return Poll(ctx, func() error {
		foreign, err := d.inspectRules(ctx)
		if foreign != "" {
			return fmt.Errorf("%s: %w", foreign, errForeign)
		}
		return err
	})
}

// usedByOthers looks in the output of iptables -S for rules such as
//
//	-A FORWARD -o docker0 -j DOCKER
//
// of a bridge that exists and is not ours, and returns its name.
func usedByOthers(rules, ours string) string {
	for line := range strings.Lines(rules) {
		fields := strings.Fields(line)
		at := slices.Index(fields, "-o")
		if at < 0 || at+1 >= len(fields) || fields[len(fields)-1] != "DOCKER" || fields[at+1] == ours {
			continue
		}
		if _, err := net.InterfaceByName(fields[at+1]); err == nil {
			return fields[at+1]
		}
	}
	return ""
}

func (d *daemon) configFile() string { return filepath.Join(d.dir, "daemon.json") }

func (d *daemon) makeBridge(ctx context.Context) error {
	if _, err := net.InterfaceByName(d.bridge); err == nil {
		return nil
	}
	subnet, err := freeSubnet()
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"link", "add", d.bridge, "type", "bridge"},
		{"addr", "add", subnet.String(), "dev", d.bridge},
		{"link", "set", d.bridge, "up"},
	} {
		if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("make bridge (ip %s): %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// freeSubnet picks a /24 of 10.213.0.0/16, a corner few networks use, in which
// no interface of this host has an address.
func freeSubnet() (netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("list addresses: %w", err)
	}
	for third := range 256 {
		candidate := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 213, byte(third), 1}), 24)
		taken := false
		for _, a := range addrs {
			used, err := netip.ParsePrefix(a.String())
			taken = taken || err == nil && used.Overlaps(candidate)
		}
		if !taken {
			return candidate, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("find a subnet for a bridge: %w", errNoSubnet)
}

// launch starts dockerd in its own session, as a child of nobody in
// particular, and returns without waiting for it.
func (d *daemon) launch(ctx context.Context, o engineOptions) error {
	namespace := d.bridge // keeps us apart on a host where a containerd runs
	args := []string{
		"--config-file", d.configFile(), "--host", "unix://" + d.socket(), "--pidfile", d.pidFile(),
		"--data-root", filepath.Join(d.dir, "data"), "--exec-root", filepath.Join(d.run, "exec"),
		"--bridge", d.bridge, "--storage-driver", o.storage, "--iptables=" + strconv.FormatBool(o.iptables),
		"--ip6tables=false", "--containerd-namespace", namespace, "--containerd-plugins-namespace", namespace + "-plugins",
	}
	args = append(args, d.flags...)
	if err := os.WriteFile(d.logFile(), nil, 0o600); err != nil {
		return fmt.Errorf("start dockerd: %w", err)
	}
	const script = `log=$1; pid=$2; shift 2; setsid dockerd "$@" >>"$log" 2>&1 </dev/null & echo $! >"$pid.started"`
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", script, "sh", d.logFile(), d.pidFile()}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("start dockerd: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// waitReady waits until the engine answers. It gives up when the process ends.
func (d *daemon) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	var ended error
	err := Poll(ctx, func() error {
		_, err := dialEngine(ctx, d.socket())
		if err != nil && !d.alive() {
			ended = errEnded
			return nil
		}
		return err
	})
	if err = errors.Join(err, ended); err != nil {
		return fmt.Errorf("wait for docker engine: %w; end of %s:\n%s", err, d.logFile(), tail(d.logFile()))
	}
	return nil
}

// alive tells whether the dockerd of this directory runs.
func (d *daemon) alive() bool {
	for _, file := range []string{d.pidFile(), d.pidFile() + ".started"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// The name guards against a reused id. Without a command line it is
		// a zombie, or in the middle of execve.
		proc := filepath.Join("/proc", strings.TrimSpace(string(text)))
		line, err := os.ReadFile(filepath.Join(proc, "cmdline"))
		if err == nil && (bytes.Contains(line, []byte("dockerd")) || len(line) == 0 && !zombie(proc)) {
			return true
		}
	}
	return false
}

// zombie tells whether the process of a /proc directory has ended.
func zombie(proc string) bool {
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	return err != nil || bytes.Contains(stat, []byte(") Z "))
}

// stop ends dockerd, if it runs, and removes what is outside dir.
func (d *daemon) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, "/bin/sh", "-c", stopScript, "sh", d.run, d.bridge, d.dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("stop docker engine in %s: %w: %s", d.dir, err, bytes.TrimSpace(out))
	}
	return nil
}

// tail returns the end of a file, or why there is none.
func tail(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-logTail):])
}
