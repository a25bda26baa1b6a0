package bpfload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// Where the kernel says how far it is locked down, and how it is made.
const (
	lockdownFile = "/sys/kernel/security/lockdown"
	btfFile      = "/sys/kernel/btf/vmlinux"
)

// explain says of a refusal what is missing and what helps. The text of the
// library is about its own calls, and of the verifier about instructions.
func explain(what string, err error) error {
	feature := "BPF program " + what
	if what == "maps" {
		feature = "BPF"
	}
	return &hostfs.NotSupportedError{Feature: feature, Remedy: remedy(err), Err: err}
}

func remedy(err error) string {
	_, noBTF := os.Stat(btfFile)
	var verifier *ebpf.VerifierError
	switch {
	case errors.Is(noBTF, fs.ErrNotExist):
		return "needs " + btfFile + ": a kernel with CONFIG_DEBUG_INFO_BTF, 5.10 or newer"
	case errors.Is(err, unix.EPERM):
		return permissionRemedy()
	case errors.Is(err, unix.ENOSYS):
		return "the system call bpf(2) is not there; a seccomp profile may hide it"
	case errors.Is(err, btf.ErrNotFound):
		return "this kernel lacks the hook or a field it needs: " + firstLine(err)
	case errors.As(err, &verifier) && len(verifier.Log) > 0:
		return "this kernel's verifier refuses it: " + lastLine(verifier)
	case errors.Is(err, unix.EACCES):
		return permissionRemedy()
	}
	return firstLine(err)
}

// permissionRemedy names what most likely stands in the way.
func permissionRemedy() string {
	text, err := os.ReadFile(lockdownFile)
	if err == nil && strings.Contains(string(text), "[confidentiality]") {
		return "the kernel is locked down for confidentiality, which no BPF program may break"
	}
	return "run as root or with CAP_BPF and CAP_PERFMON (CAP_SYS_ADMIN before 5.8), under a seccomp profile that allows bpf(2)"
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// lastLine of a verifier's log says what it did not like; the one after is
// its statistics.
func lastLine(err *ebpf.VerifierError) string {
	for i := len(err.Log) - 1; i >= 0; i-- {
		line := strings.TrimSpace(err.Log[i])
		if line != "" && !strings.HasPrefix(line, "processed ") && !strings.HasPrefix(line, "verification time") {
			return line
		}
	}
	return fmt.Sprint(err.Cause)
}
