package doctor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	// typesDir has the types (BTF) of the kernel and of each module, in this
	// process' own /sys: there they are read when programs are loaded.
	typesDir = "/sys/kernel/btf"
	// conntrackModule is a part of the kernel, or a module with types of its own.
	conntrackModule = "nf_conntrack"

	// A tracepoint that BPF programs can be attached to is a typedef of this name
	// (include/trace/bpf_probe.h).
	stateTracepoint   = "btf_trace_inet_sock_set_state"
	sendTracepoint    = "btf_trace_sock_send_length"
	receiveTracepoint = "btf_trace_sock_recv_length"
	// lookupFunction is what BPF programs call to ask conntrack
	// (net/netfilter/nf_conntrack_bpf.c).
	lookupFunction = "bpf_skb_ct_lookup"
)

// kernelTypes are the names that the kernel's types have, and those of the module
// nf_conntrack; the latter are empty where it is not loaded, or is no module.
type kernelTypes struct {
	kernel, conntrack typeNames
}

func readKernelTypes(dir string) (kernelTypes, error) {
	kernel, err := readTypeNames(filepath.Join(dir, "vmlinux"))
	if err != nil {
		return kernelTypes{}, err
	}
	conntrack, err := readTypeNames(filepath.Join(dir, conntrackModule))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return kernelTypes{}, err
	}
	return kernelTypes{kernel: kernel, conntrack: conntrack}, nil
}

func (k kernelTypes) hasState() bool { return k.kernel.has(stateTracepoint) }

func (k kernelTypes) hasAnswers() bool {
	return k.kernel.has(sendTracepoint) && k.kernel.has(receiveTracepoint)
}

func (k kernelTypes) hasLookup() bool {
	return k.kernel.has(lookupFunction) || k.conntrack.has(lookupFunction)
}

// typeNames are the names of types, fields and functions, each with a zero byte at
// its end. What a name is of, is not in them: the names that are asked for here
// are those of one thing only.
type typeNames []byte

func (n typeNames) has(name string) bool {
	// The first one of a module has nothing before it.
	return bytes.HasPrefix(n, []byte(name+"\x00")) || bytes.Contains(n, []byte("\x00"+name+"\x00"))
}

// readTypeNames reads the part of the file that has the names: 2.3 of 5.5 MB (Linux 6.18).
func readTypeNames(path string) (typeNames, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	header := make([]byte, btfHeaderSize)
	if _, err := f.ReadAt(header, 0); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	start, size, err := parseBTFHeader(header, info.Size())
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", path, err)
	}
	names := make(typeNames, size)
	if _, err := f.ReadAt(names, start); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return names, nil
}

// btfHeaderSize is of struct btf_header.
const btfHeaderSize = 24

var errShortBTF = errors.New("it ends too early")

// parseBTFHeader finds the names in a file of BTF (Documentation/bpf/btf.rst) of so
// many bytes. It starts with this header; offsets are from its end:
//
//	u16 magic; u8 version, flags; u32 hdr_len, type_off, type_len, str_off, str_len
func parseBTFHeader(b []byte, fileSize int64) (start, size int64, err error) {
	order := binary.NativeEndian
	switch {
	case len(b) < btfHeaderSize:
		return 0, 0, errShortBTF
	case order.Uint16(b) != btfMagic:
		return 0, 0, errNotBTF
	}
	start = int64(order.Uint32(b[4:])) + int64(order.Uint32(b[16:]))
	size = int64(order.Uint32(b[20:]))
	if start+size > fileSize {
		return 0, 0, errShortBTF
	}
	return start, size, nil
}
