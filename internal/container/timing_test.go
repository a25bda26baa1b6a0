package container_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/container"
)

func BenchmarkParsePath(b *testing.B) {
	f := func(name, path string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				container.ParsePath(path)
			}
		})
	}
	f("docker", "/docker/"+idA)
	f("kubepods", "/kubepods.slice/kubepods-pod"+und1+".slice/cri-containerd-"+idA+".scope")
	f("nested", "/docker/"+idA+"/kubelet.slice/kubelet-kubepods-pod"+und1+".slice/cri-containerd-"+idB+".scope")
	f("service", "/system.slice/system-postgresql.slice/postgresql@15-main.service")
}

func BenchmarkParseProcCgroup(b *testing.B) {
	content := []byte("9:name=systemd:/docker/" + idA + "\n4:memory:/docker/" + idA + "\n1:cpu:/docker/" + idA + "\n0::/docker/" + idA + "\n")
	b.ReportAllocs()
	for b.Loop() {
		container.ParseProcCgroup(content)
	}
}

func filledIndex(n int) *container.Index {
	x := container.NewIndex(container.IndexOptions{})
	for i := range n {
		x.Add(container.Cgroup{Path: "/docker/" + hexID(i), Inode: uint64(i + 1)})
	}
	return x
}

func BenchmarkIndexByInode(b *testing.B) {
	x := filledIndex(2000)
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		x.ByInode(i%2000 + 1)
	}
}

func BenchmarkIndexChurn(b *testing.B) {
	x := filledIndex(2000)
	b.ReportAllocs()
	for i := 5000; b.Loop(); i++ {
		path := "/docker/" + hexID(i)
		x.Add(container.Cgroup{Path: path, Inode: uint64(i)})
		x.Remove(path, uint64(i), time.Time{})
	}
}

func TestIndexLookupAllocates(t *testing.T) {
	x := filledIndex(10)
	x.Remove("/docker/"+hexID(3), 4, time.Time{})
	path, id := "/docker/"+hexID(3), hexID(3)
	n := testing.AllocsPerRun(100, func() {
		x.ByInode(4)
		x.ByInode(5)
		x.ByPath(path)
		x.ByID(id)
	})
	require.Zero(t, n)
}

// BenchmarkWalk is one reconcile walk over 200 containers.
func BenchmarkWalk(b *testing.B) {
	top := memory(b)
	docker := mkdir(b, top, "docker")
	for i := range 200 {
		mkdir(b, docker, hexID(i))
	}
	ticks := make(chan time.Time)
	d := container.NewDiscovery(container.DiscoveryOptions{Dir: top, Tick: ticks})
	require.NoError(b, d.Start())
	b.ReportAllocs()
	for b.Loop() {
		ticks <- time.Time{} // taken when the walk before is done
	}
	b.StopTimer()
	d.Close()
}
