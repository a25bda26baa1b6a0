package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// mark is how a later run finds what an interrupted one left.
	mark = "dev.tallyman.bench-peers"
	// starters is how many containers are started at once: the engine spends
	// half of a start waiting.
	starters = 4
	// cleanWithin bounds the removal of 207 containers, about 0.2 s each.
	cleanWithin = 3 * time.Minute
)

var errNoEngineProcess = errors.New("no such process")

// fleet is a private engine with idle containers.
type fleet struct {
	engine     *testkit.Engine
	api        string // version of the engine's API
	dir        string
	network    string
	containers []*testkit.Container
}

func newFleet(ctx context.Context, o options) (*fleet, error) {
	dir := filepath.Join(o.dir, "engine")
	engine, err := testkit.StartEngine(ctx, dir, func(format string, args ...any) { fmt.Printf(format+"\n", args...) })
	if err != nil {
		return nil, err
	}
	f := &fleet{engine: engine, dir: dir, network: o.network}
	if err := f.clear(ctx); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// close removes everything, also when the run was interrupted.
func (f *fleet) close() error {
	fmt.Println("Removing the containers and the engine.")
	ctx, cancel := context.WithTimeout(context.Background(), cleanWithin)
	defer cancel()
	return errors.Join(f.clear(ctx), f.engine.Stop(), os.RemoveAll(f.dir))
}

// clear removes all containers of this and of earlier runs.
func (f *fleet) clear(ctx context.Context) error {
	list, err := f.engine.Client().ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: client.Filters{}.Add("label", mark),
	})
	if err != nil {
		return fmt.Errorf("list the containers of bench-peers: %w", err)
	}
	return parallel(len(list.Items), func(i int) error {
		_, err := f.engine.Client().ContainerRemove(ctx, list.Items[i].ID, client.ContainerRemoveOptions{Force: true})
		return err
	})
}

// grow starts containers until there are n.
func (f *fleet) grow(ctx context.Context, n int) error {
	image, err := f.engine.BusyboxImage(ctx)
	if err != nil {
		return err
	}
	there := len(f.containers)
	added := make([]*testkit.Container, n-there)
	err = parallel(len(added), func(i int) error {
		var err error
		added[i], err = f.engine.StartContainer(ctx, testkit.ContainerSpec{
			Name: fmt.Sprintf("bench-%03d", there+i), Image: image, NetworkMode: f.network, Labels: map[string]string{mark: "1"},
		})
		return err
	})
	if err != nil {
		return err
	}
	f.containers = append(f.containers, added...)
	return nil
}

// parallel calls do for 0 to n-1 and returns the first error; what has not
// begun by then is left.
func parallel(n int, do func(int) error) error {
	var group sync.WaitGroup
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	slots := make(chan struct{}, starters)
	for i := 0; i < n && ctx.Err() == nil; i++ {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if err := do(i); err != nil {
				cancel(err)
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// workers lists the processes that make up the engine: dockerd with what it
// started, the shim of each container, and containerd where it is not dockerd's
// child. The containers' own processes are not among them.
func (f *fleet) workers(all map[int]procStat) ([]int, error) {
	dockerd, err := servedBy(f.engine.Socket())
	if err != nil {
		return nil, err
	}
	found := map[int]bool{}
	containerd := false
	for _, pid := range family(all, dockerd) {
		found[pid] = true
		containerd = containerd || all[pid].name == "containerd"
	}
	for _, c := range f.containers {
		shim := all[c.PID].parent
		if shim <= 1 {
			return nil, fmt.Errorf("find the shim of %s: %w", c.Name, errNoEngineProcess)
		}
		found[shim] = true
	}
	if !containerd {
		for pid, s := range all {
			found[pid] = found[pid] || s.name == "containerd"
		}
	}
	var pids []int
	for pid, is := range found {
		if is {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids) // the same order each time adds up to the same sum
	return pids, nil
}

// servedBy returns the process that listens on a Unix socket.
func servedBy(socket string) (int, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return 0, fmt.Errorf("find who serves %s: %w", socket, err)
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("find who serves %s: %w", socket, err)
	}
	var peer *unix.Ucred
	var peerErr error
	err = raw.Control(func(fd uintptr) {
		peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, peerErr); err != nil {
		return 0, fmt.Errorf("find who serves %s: %w", socket, err)
	}
	return int(peer.Pid), nil
}
