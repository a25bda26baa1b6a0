package sampler

import (
	"path/filepath"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// HostPressure is the stall information of the whole host. A false Has field
// means that the kernel has none (before 4.20, or psi=0).
type HostPressure struct {
	CPU, Memory, IO          cgroup.Pressure
	HasCPU, HasMemory, HasIO bool
}

type hostPressure struct {
	cpu, memory, io hostfs.File
	last            HostPressure
}

func newHostPressure(roots hostfs.Roots, budget *hostfs.Budget) hostPressure {
	file := func(name string) hostfs.File {
		return hostfs.NewFile(filepath.Join(roots.Proc, "pressure", name), budget)
	}
	return hostPressure{cpu: file("cpu"), memory: file("memory"), io: file("io")}
}

func (p *hostPressure) read(buf []byte) []byte {
	var err error
	p.last.CPU, buf, err = cgroup.ReadPressure(&p.cpu, buf)
	p.last.HasCPU = err == nil
	p.last.Memory, buf, err = cgroup.ReadPressure(&p.memory, buf)
	p.last.HasMemory = err == nil
	p.last.IO, buf, err = cgroup.ReadPressure(&p.io, buf)
	p.last.HasIO = err == nil
	return buf
}

func (p *hostPressure) close() {
	p.cpu.Close()
	p.memory.Close()
	p.io.Close()
}
