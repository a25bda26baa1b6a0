package nat

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// module has the function that the program calls, and the types it reads, where
// conntrack is not built into the kernel.
const module = "nf_conntrack"

// loadPull loads the program by trial. A refusal matches
// [hostfs.ErrNotSupported].
func loadPull(to *conntrackObjects) error {
	// Kernels before 5.11 count maps as locked memory; where the limit cannot
	// be lifted, making the map will say so.
	_ = rlimit.RemoveMemlock()
	options := ebpf.CollectionOptions{}
	types, err := btf.LoadKernelModuleSpec(module)
	switch {
	case err == nil:
		options.Programs.ExtraRelocationTargets = []*btf.Spec{types}
	case !errors.Is(err, fs.ErrNotExist):
		return refusal(fmt.Errorf("read types of module %s: %w", module, err))
	} // else it is built in, or absent, which loading tells
	if err := loadConntrackObjects(to, &options); err != nil {
		return refusal(err)
	}
	return nil
}

func refusal(err error) error {
	remedy := "needs Linux 6.1 or newer with conntrack, and BTF of the kernel and of the module " + module
	var verifier *ebpf.VerifierError
	switch {
	case errors.Is(err, unix.EPERM):
		remedy = "run as root or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"
	case errors.As(err, &verifier) && len(verifier.Log) > 0:
		remedy += "; the verifier says: " + verifier.Log[len(verifier.Log)-1]
	}
	return &hostfs.NotSupportedError{Feature: "conntrack lookup by BPF", Remedy: remedy, Err: err}
}
