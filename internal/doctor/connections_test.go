package doctor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// btf is a file of types without a single type. A module's names start at once, the
// kernel's with the empty one.
func btf(names string) []byte {
	order := binary.NativeEndian
	const typeSize = 8
	b := order.AppendUint16(nil, btfMagic)
	b = append(b, 1, 0)
	for _, n := range []uint32{btfHeaderSize, 0, typeSize, typeSize, uint32(len(names))} {
		b = order.AppendUint32(b, n)
	}
	return append(append(b, make([]byte, typeSize)...), names...)
}

func names(all ...string) typeNames {
	n := typeNames("\x00")
	for _, name := range all {
		n = append(n, name+"\x00"...)
	}
	return n
}

func TestReadTypeNames(t *testing.T) {
	f := func(content []byte) (typeNames, error) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "vmlinux")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return readTypeNames(path)
	}
	got, err := f(append(btf("\x00first\x00second_one\x00"), "behind the end\x00"...))
	require.NoError(t, err)
	require.True(t, got.has("first"))
	require.True(t, got.has("second_one"))
	for _, absent := range []string{"second", "one", "irst", "behind the end", "third"} {
		require.False(t, got.has(absent), absent)
	}
	got, err = f(btf("of_a_module\x00"))
	require.NoError(t, err)
	require.True(t, got.has("of_a_module"))
	require.False(t, typeNames(nil).has("first"))

	whole := btf("\x00first\x00")
	for _, b := range [][]byte{nil, whole[:btfHeaderSize-1]} {
		_, err := f(b)
		require.ErrorIs(t, err, io.EOF)
	}
	_, err = f(whole[:len(whole)-1])
	require.ErrorIs(t, err, errShortBTF)
	_, err = f(bytes.Repeat([]byte("x"), btfHeaderSize))
	require.ErrorIs(t, err, errNotBTF)
}

// Names are within the file.
func FuzzParseBTFHeader(f *testing.F) {
	for _, b := range [][]byte{btf("\x00first\x00"), btf("x\x00"), btf(""), nil, bytes.Repeat([]byte{0xff}, 40)} {
		f.Add(b, int64(len(b)))
	}
	f.Fuzz(func(t *testing.T, b []byte, fileSize int64) {
		start, size, err := parseBTFHeader(b, fileSize)
		if err != nil && start+size != 0 || start < 0 || size < 0 || err == nil && start+size > fileSize {
			t.Fatalf("%x of %d gives %d, %d, %v", b, fileSize, start, size, err)
		}
	})
}

func TestReadKernelTypes(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte) {
		t.Helper()
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	_, err := readKernelTypes(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)

	write("vmlinux", btf(string(names(stateTracepoint, sendTracepoint))))
	types, err := readKernelTypes(dir)
	require.NoError(t, err)
	require.True(t, types.hasState())
	require.False(t, types.hasAnswers(), "both are needed")
	require.False(t, types.hasLookup())

	write(conntrackModule, btf(lookupFunction+"\x00"))
	types, err = readKernelTypes(dir)
	require.NoError(t, err)
	require.True(t, types.hasLookup(), "of the module")

	write("vmlinux", btf(string(names(sendTracepoint, receiveTracepoint, lookupFunction))))
	require.NoError(t, os.Remove(filepath.Join(dir, conntrackModule)))
	types, err = readKernelTypes(dir)
	require.NoError(t, err)
	require.True(t, types.hasLookup(), "built in")
	require.True(t, types.hasAnswers())
	require.False(t, types.hasState())

	write(conntrackModule, []byte("no types of a module at all"))
	_, err = readKernelTypes(dir)
	require.ErrorIs(t, err, errNotBTF)
}

// The first tracepoint is one that the process stream has been attached to: this
// kernel has it, by that name.
func TestTypesOfThisKernel(t *testing.T) {
	testkit.NeedBPF(t)
	types, err := readKernelTypes(typesDir)
	require.NoError(t, err)
	require.Equal(t, Pass, best(options().tryPrograms()).Status)
	require.True(t, types.kernel.has("btf_trace_sched_process_fork"))
	require.False(t, types.kernel.has("btf_trace_tallyman_no_such"))
	require.False(t, types.kernel.has(stateTracepoint[1:]))
	require.True(t, types.hasState())
}

func runs() Result { return Result{Status: Pass} }

func refused() Result {
	return Result{Status: Fail, Found: "refused", Meaning: "x.", Remedy: "Run as root.", Error: unix.EPERM.Error()}
}

func allTypes() kernelTypes {
	return kernelTypes{kernel: names(stateTracepoint, sendTracepoint, receiveTracepoint, lookupFunction)}
}

func TestJudgeConnectionStream(t *testing.T) {
	f := func(h bpfHost, want Status, found, remedy string) {
		t.Helper()
		r := named(t, h.judgeStream())
		require.Equal(t, want, r.Status, "%+v", r)
		require.Contains(t, r.Found, found)
		require.Contains(t, r.Remedy, remedy)
		require.Equal(t, want == Pass || found == "without response times", h.runs())
	}
	missing := fmt.Errorf("open x: %w", fs.ErrNotExist)
	without := kernelTypes{kernel: names(stateTracepoint, lookupFunction)}
	f(bpfHost{types: allTypes(), tried: runs()}, Pass, "with response times", "")
	f(bpfHost{types: without, tried: runs()}, Warn, "without response times", "Linux 6.3")
	f(bpfHost{types: allTypes(), tried: refused()}, Warn, "refused", "Run as root.")
	f(bpfHost{types: allTypes(), tried: undecided("not tried", errTest)}, Unknown, "could not be tried", "")
	f(bpfHost{types: kernelTypes{kernel: names("x")}, tried: runs()}, Warn, "inet_sock_set_state", "5.10")
	f(bpfHost{noTypes: missing, tried: refused()}, Warn, "no types", "CONFIG_DEBUG_INFO_BTF")
	f(bpfHost{noTypes: errNotBTF, tried: refused()}, Unknown, "cannot be used", "")
}

// One program that the kernel refuses says nothing of the others.
func TestBestProgram(t *testing.T) {
	require.Equal(t, Pass, best([]Result{refused(), runs()}).Status)
	require.Equal(t, unix.EPERM.Error(), best([]Result{refused(), undecided("not tried", errTest)}).Error)
}

func TestBPFRefusal(t *testing.T) {
	require.NoError(t, bpfHost{types: allTypes(), tried: runs()}.refusal())
	require.ErrorContains(t, bpfHost{types: allTypes(), tried: refused()}.refusal(), unix.EPERM.Error())
	require.ErrorIs(t, bpfHost{types: kernelTypes{kernel: names("x")}, tried: runs()}.refusal(), errNoLookup)
	require.ErrorIs(t, bpfHost{noTypes: fs.ErrNotExist, tried: runs()}.refusal(), fs.ErrNotExist)
}
