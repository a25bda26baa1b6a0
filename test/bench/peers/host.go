package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"
)

// describe notes what the figures depend on.
func (r *report) describe(ctx context.Context, f *fleet, dir string) error {
	r.day = time.Now().UTC().Format(time.DateOnly)
	r.cores = runtime.NumCPU()
	version, err := f.engine.Client().ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return fmt.Errorf("ask the engine's version: %w", err)
	}
	r.docker, f.api = version.Version, version.APIVersion
	var uname unix.Utsname
	err = unix.Uname(&uname)
	r.kernel = unix.ByteSliceToString(uname.Release[:])
	return errors.Join(err,
		r.readCPU(), r.readLayout(), r.readLoad(&r.loadBefore), r.readCommit(ctx),
		r.readVersion(filepath.Join(dir, "cadvisor"), "github.com/google/cadvisor", "cAdvisor"),
		r.readVersion(filepath.Join(dir, "collector"),
			"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/dockerstatsreceiver", "docker_stats"),
	)
}

func (r *report) readCPU() error {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return fmt.Errorf("read the CPU's name: %w", err)
	}
	r.cpu = parseModel(string(text))
	return nil
}

// parseModel finds "model name : AMD EPYC". Other architectures have other
// lines, or none.
func parseModel(text string) string {
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func (r *report) readLayout() error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("read cgroup mounts: %w", err)
	}
	r.layout = parseLayout(string(text))
	return nil
}

// parseLayout looks at the file system types of mountinfo, which follow " - ".
func parseLayout(mounts string) string {
	v1, v2 := strings.Contains(mounts, " - cgroup "), strings.Contains(mounts, " - cgroup2 ")
	switch {
	case v1 && v2:
		return "hybrid cgroups"
	case v1:
		return "cgroup v1"
	case v2:
		return "cgroup v2"
	}
	return "no cgroups"
}

// readLoad stores the first figure of /proc/loadavg: the load of the last minute.
func (r *report) readLoad(to *string) error {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return fmt.Errorf("read load: %w", err)
	}
	*to, _, _ = strings.Cut(string(text), " ")
	return nil
}

func (r *report) readCommit(ctx context.Context) error {
	commit, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return fmt.Errorf("read commit: %w", err)
	}
	changes, err := exec.CommandContext(ctx, "git", "status", "--porcelain").Output()
	if err != nil {
		return fmt.Errorf("read local changes: %w", err)
	}
	r.commit = strings.TrimSpace(string(commit))
	if len(changes) > 0 {
		r.commit += " + local changes"
	}
	return nil
}

// readVersion notes the version of a module as it was built into a binary.
func (r *report) readVersion(binary, module, title string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("read modules of %s: %w (scripts/bench-peers.sh builds it)", binary, err)
	}
	for _, dep := range info.Deps {
		if dep.Path == module {
			r.peers = append(r.peers, title+" "+dep.Version)
			return nil
		}
	}
	return fmt.Errorf("read modules of %s: no %s", binary, module)
}
