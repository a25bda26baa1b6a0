// Package bpfload loads BPF programs by trial: each on its own, so that a
// kernel without one hook still runs the others, and each refusal is a
// [hostfs.NotSupportedError] with a readable reason and a remedy instead of a
// verifier log.
//
// Neither the kernel's version nor capability bits are asked: distributions
// carry changes back, and a locked-down kernel refuses what its version has.
//
// A [Set] is for one goroutine. Its [Set.Drops] may be asked by any.
//
// Cost: parsing the kernel's types takes about 0.2 s of processor time and
// 60 MB, which the garbage collector takes back, once for each process; a
// program takes 1 to 10 ms.
//
// Kernel needs: BPF and PERFMON capabilities (or SYS_ADMIN), and
// /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF). Before 5.11 locked memory is
// limited; the limit of this process is lifted.
package bpfload
