package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// mark is how a later run finds what an interrupted one left.
const mark = "dev.tallyman.demo"

const (
	mib = 1 << 20
	// heldMemory and memoryLimit are what demo-memory shows.
	heldMemory  = 64 * mib
	memoryLimit = 128 * mib
	// cpuQuota is a quarter of a CPU, in microseconds per 100 ms.
	cpuQuota = 25_000
)

// The names of the containers, one per thing to see.
const (
	web    = "demo-web"
	load   = "demo-load"
	memory = "demo-memory"
	cpu    = "demo-cpu"
	disk   = "demo-io"
)

var errNoAddress = errors.New("it has no address")

// specs are the containers that need nothing of each other.
func specs() []testkit.ContainerSpec {
	return []testkit.ContainerSpec{
		{
			Name: web,
			Cmd:  shell(`mkdir /www; echo 'Hello from demo-web.' >/www/index.html; exec httpd -f -p 80 -h /www`),
		},
		{
			Name: memory, Memory: memoryLimit, MemorySwap: memoryLimit,
			// A file in shared memory is memory that stays used without a process's help.
			Cmd: shell(`dd if=/dev/zero of=/dev/shm/held bs=1M count=64 2>/dev/null; exec sleep 2147483647`),
			Adjust: func(_ *container.Config, h *container.HostConfig) {
				h.ShmSize = heldMemory + mib
			},
		},
		{Name: cpu, CPUQuota: cpuQuota, Cmd: shell(`while :; do :; done`)},
		{
			Name: disk,
			// fsync makes the write the container's own and not the kernel's, later.
			Cmd: shell(`while :; do i=$(((i + 1) % 16)); ` +
				`dd if=/dev/zero of=/data.$i bs=1M count=1 conv=fsync 2>/dev/null; sleep 0.2; done`),
		},
	}
}

func shell(script string) []string { return []string{"sh", "-c", script} }

// startContainers replaces what an earlier run left and starts all of them.
func startContainers(ctx context.Context, engine *testkit.Engine) ([]*testkit.Container, error) {
	if err := removeContainers(ctx, engine); err != nil {
		return nil, err
	}
	var started []*testkit.Container
	for _, spec := range specs() {
		c, err := start(ctx, engine, spec)
		if err != nil {
			return nil, err
		}
		started = append(started, c)
	}
	address, err := addressOf(ctx, started[0])
	if err != nil {
		return nil, err
	}
	client, err := start(ctx, engine, testkit.ContainerSpec{
		Name: load, Cmd: shell(`while :; do wget -qO /dev/null http://` + address + `/; sleep 0.1; done`),
	})
	if err != nil {
		return nil, err
	}
	return append(started, client), nil
}

func start(ctx context.Context, engine *testkit.Engine, spec testkit.ContainerSpec) (*testkit.Container, error) {
	spec.Labels = map[string]string{
		mark:                         "1",
		"com.docker.compose.project": "demo",
		"com.docker.compose.service": spec.Name[len("demo-"):],
	}
	return engine.StartContainer(ctx, spec)
}

// addressOf is where the other containers reach this one.
func addressOf(ctx context.Context, c *testkit.Container) (string, error) {
	info, err := c.Inspect(ctx)
	if err != nil {
		return "", err
	}
	for _, network := range info.NetworkSettings.Networks {
		if network.IPAddress.IsValid() {
			return network.IPAddress.String(), nil
		}
	}
	return "", fmt.Errorf("find address of %s: %w", c.Name, errNoAddress)
}

// removeContainers removes all containers of this and of earlier runs.
func removeContainers(ctx context.Context, engine *testkit.Engine) error {
	list, err := engine.Client().ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: client.Filters{}.Add("label", mark),
	})
	if err != nil {
		return fmt.Errorf("list the demo's containers: %w", err)
	}
	var errs []error
	for _, c := range list.Items {
		_, err := engine.Client().ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func listContainers(containers []*testkit.Container) {
	for _, c := range containers {
		fmt.Printf("%-12s %.12s  process %d\n", c.Name, c.ID, c.PID)
	}
}
