package testkit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// ErrExit says that a container was not running when it should have been.
var ErrExit = errors.New("container is not running")

// cleanWithin bounds the removal of a container at the end of a test.
const cleanWithin = 30 * time.Second

// ContainerSpec says what to run. Zero fields mean the engine's default.
type ContainerSpec struct {
	Name        string            // RunContainer makes it unique; StartContainer takes it as it is
	Image       string            // default Busybox, which is made when missing
	Cmd         []string          // default: sleep until stopped
	Env         []string          // "NAME=value"
	Labels      map[string]string // kept as given
	Memory      int64             // bytes
	MemorySwap  int64             // bytes of memory and swap together; -1 is unlimited
	NanoCPUs    int64             // 1e9 is one CPU
	CPUQuota    int64             // microseconds per period of 100 ms; not with NanoCPUs
	PidsLimit   int64             // tasks
	NetworkMode string            // "none", "host", "container:<id>", ...
	PidMode     string            // "host", "container:<id>"
	Binds       []string          // "/host:/inside[:ro]"
	// Adjust changes what the fields above do not cover (health checks, ports,
	// restart policy), just before the container is created.
	Adjust func(*container.Config, *container.HostConfig)
}

// Container is a started container. Its methods may be called from several
// goroutines, except that Restart changes PID.
type Container struct {
	ID   string // 64 hex digits
	Name string // without the engine's leading slash
	PID  int    // of its first process, in our pid namespace

	engine *Engine
}

// RunContainer starts a container and removes it at the end of the test.
func (e *Engine) RunContainer(t testing.TB, spec ContainerSpec) *Container {
	t.Helper()
	if spec.Name != "" {
		spec.Name += fmt.Sprintf("-%08x", rand.Uint32())
	}
	c, err := e.StartContainer(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanWithin)
		defer cancel()
		if err := c.Remove(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

// StartContainer creates and starts a container. On an error none is left.
func (e *Engine) StartContainer(ctx context.Context, spec ContainerSpec) (*Container, error) {
	if spec.Image == "" {
		image, err := e.BusyboxImage(ctx)
		if err != nil {
			return nil, err
		}
		spec.Image = image
	}
	config, host := spec.split()
	created, err := e.api.ContainerCreate(ctx, client.ContainerCreateOptions{Name: spec.Name, Config: config, HostConfig: host})
	if err != nil {
		return nil, fmt.Errorf("create container %q: %w", spec.Name, err)
	}
	c := &Container{ID: created.ID, engine: e}
	_, err = e.api.ContainerStart(ctx, c.ID, client.ContainerStartOptions{})
	if err == nil {
		err = c.refresh(ctx)
	}
	if err != nil {
		err = fmt.Errorf("start container %q: %w", spec.Name, err)
		return nil, errors.Join(err, c.Remove(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func (spec ContainerSpec) split() (*container.Config, *container.HostConfig) {
	if len(spec.Cmd) == 0 {
		spec.Cmd = []string{"sleep", "2147483647"}
	}
	oneSecond := 1 // a shell as process 1 ignores SIGTERM; no test wants the usual ten
	config := &container.Config{
		Image: spec.Image, Cmd: spec.Cmd, Env: spec.Env, Labels: spec.Labels, StopTimeout: &oneSecond,
	}
	host := &container.HostConfig{
		Binds:       spec.Binds,
		NetworkMode: container.NetworkMode(spec.NetworkMode),
		PidMode:     container.PidMode(spec.PidMode),
	}
	host.Memory, host.MemorySwap = spec.Memory, spec.MemorySwap
	host.NanoCPUs, host.CPUQuota = spec.NanoCPUs, spec.CPUQuota
	if spec.PidsLimit != 0 {
		host.PidsLimit = &spec.PidsLimit
	}
	if spec.Adjust != nil {
		spec.Adjust(config, host)
	}
	return config, host
}

// refresh reads name and process id. A command that has already ended well is
// no error: some tests want exactly that.
func (c *Container) refresh(ctx context.Context) error {
	info, err := c.Inspect(ctx)
	if err != nil {
		return err
	}
	c.Name = info.Name[min(1, len(info.Name)):]
	c.PID = 0
	if info.State != nil {
		c.PID = info.State.Pid
	}
	return nil
}

// Inspect returns what the engine knows about the container.
func (c *Container) Inspect(ctx context.Context) (container.InspectResponse, error) {
	result, err := c.engine.api.ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{})
	if err != nil {
		return container.InspectResponse{}, fmt.Errorf("inspect container %.12s: %w", c.ID, err)
	}
	return result.Container, nil
}

// Stats returns the engine's own figures, one sample, to compare ours with.
// Old engines (20.10) take a second to answer.
func (c *Container) Stats(ctx context.Context) (container.StatsResponse, error) {
	var stats container.StatsResponse
	result, err := c.engine.api.ContainerStats(ctx, c.ID, client.ContainerStatsOptions{})
	if err != nil {
		return stats, fmt.Errorf("read stats of container %.12s: %w", c.ID, err)
	}
	err = json.NewDecoder(result.Body).Decode(&stats)
	if err = errors.Join(err, result.Body.Close()); err != nil {
		return stats, fmt.Errorf("parse stats of container %.12s: %w", c.ID, err)
	}
	return stats, nil
}

// Stop asks the container to end and, one second later, makes it.
func (c *Container) Stop(ctx context.Context) error {
	if _, err := c.engine.api.ContainerStop(ctx, c.ID, client.ContainerStopOptions{}); err != nil {
		return fmt.Errorf("stop container %.12s: %w", c.ID, err)
	}
	return nil
}

// Kill sends a signal to the first process, such as "SIGKILL"; "" means that.
func (c *Container) Kill(ctx context.Context, signal string) error {
	if _, err := c.engine.api.ContainerKill(ctx, c.ID, client.ContainerKillOptions{Signal: signal}); err != nil {
		return fmt.Errorf("kill container %.12s: %w", c.ID, err)
	}
	return nil
}

// Restart ends the container and starts it again, also a stopped one. The id
// stays, PID is the new one.
func (c *Container) Restart(ctx context.Context) error {
	if _, err := c.engine.api.ContainerRestart(ctx, c.ID, client.ContainerRestartOptions{}); err != nil {
		return fmt.Errorf("restart container %.12s: %w", c.ID, err)
	}
	if err := c.refresh(ctx); err != nil {
		return err
	}
	if c.PID == 0 {
		return fmt.Errorf("restart container %.12s: %w", c.ID, ErrExit)
	}
	return nil
}

// Remove kills and removes the container. One that is gone is no error.
func (c *Container) Remove(ctx context.Context) error {
	_, err := c.engine.api.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove container %.12s: %w", c.ID, err)
	}
	return nil
}

// ExecResult is what a command in a container left.
type ExecResult struct {
	Output   string // standard output and error, in the order of arrival
	ExitCode int
}

// Logs returns what the container has written so far, both outputs.
func (c *Container) Logs(ctx context.Context) (string, error) {
	stream, err := c.engine.api.ContainerLogs(ctx, c.ID, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return "", fmt.Errorf("read logs of container %.12s: %w", c.ID, err)
	}
	defer stream.Close()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, stream); err != nil {
		return "", fmt.Errorf("read logs of container %.12s: %w", c.ID, err)
	}
	return out.String(), nil
}

// Exec runs a command in the container to its end. The error is about running
// it, not about its exit code. A deadline of ctx bounds it.
func (c *Container) Exec(ctx context.Context, argv ...string) (ExecResult, error) {
	var result ExecResult
	created, err := c.engine.api.ExecCreate(ctx, c.ID, client.ExecCreateOptions{Cmd: argv, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return result, fmt.Errorf("exec %q in container %.12s: %w", argv, c.ID, err)
	}
	stream, err := c.engine.api.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return result, fmt.Errorf("exec %q in container %.12s: %w", argv, c.ID, err)
	}
	// The stream does not know ctx; without this a hanging command would hang us.
	defer context.AfterFunc(ctx, stream.Close)()
	defer stream.Close()
	var output bytes.Buffer
	if _, err := stdcopy.StdCopy(&output, &output, stream.Reader); err != nil {
		return result, fmt.Errorf("read output of %q in container %.12s: %w", argv, c.ID, errors.Join(err, ctx.Err()))
	}
	ended, err := c.engine.api.ExecInspect(ctx, created.ID, client.ExecInspectOptions{})
	if err != nil {
		return result, fmt.Errorf("inspect %q in container %.12s: %w", argv, c.ID, err)
	}
	return ExecResult{Output: output.String(), ExitCode: ended.ExitCode}, nil
}
