// Package ebpfconntrackreceiver is the Collector receiver `ebpf_conntrack`: it
// tells which containers talk to whom, by TCP. BPF programs tell of each connection
// when it ends, also of one of a millisecond, with what the kernel counted; the
// kernel's connection tracking tells who is behind translated addresses.
//
// A record goes through these parts: [connstream] reads it from the kernel, [nat]
// asks conntrack for its tuple, [peers] knows who has the address at the other
// end, [join] finds the record of the other end where that is not enough (as behind
// docker-proxy), [edges] adds up. [sockdiag] looks at what is open: for what long
// connections carry meanwhile and, where BPF is refused, in place of the stream.
//
// The metrics and the logs receiver of one configuration share all of this. The
// package's own goroutines are: the stream's reader, the one that looks at
// namespaces, one that hands out what waits for its other end, and one for each of
// the two signals.
//
// Kernel needs: those of internal/bpfload and, for NAT, of [nat]; 5.10 is the
// oldest that was tried. Without BPF: connections that are there when it looks.
package ebpfconntrackreceiver
