package cgroup

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseIOStat(t *testing.T) {
	f := func(text string, want ...DeviceIO) {
		t.Helper()
		got, err := parseIOStat([]byte(text), []DeviceIO{{Major: 99, Reads: 99}})
		if err != nil {
			t.Errorf("parseIOStat(%q): %v", text, err)
		}
		if diff := cmp.Diff(append([]DeviceIO{}, want...), got); diff != "" {
			t.Errorf("parseIOStat(%q): (-want +got)\n%s", text, diff)
		}
	}
	const numbers = "rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0"
	sda := DeviceIO{Major: 8, Minor: 16, ReadBytes: 1459200, WriteBytes: 314773504, Reads: 192, Writes: 353}
	f("") // no device used yet
	f("8:16 "+numbers+"\n", sda)
	f("8:16 "+numbers+"\n8:0 rbytes=90430464 wbytes=299008000 rios=8950 wios=1252 dbytes=50331648 dios=3021\n", sda,
		DeviceIO{Major: 8, ReadBytes: 90430464, WriteBytes: 299008000, Reads: 8950, Writes: 1252})
	f("8:16 "+numbers+" cost.usage=3 cost.wait=0 use_delay=1 delay_nsec=0\n", sda) // io.cost, blkcg_debug_stats
	f("8:0 \n8:16 "+numbers+"\n", sda)
	f("8:0\n", []DeviceIO{}...)
	// Kernel 5.15 to 5.17, seen at https://github.com/canonical/lxd/issues/10052.
	f("7:7 7:6 7:5 8:16 "+numbers+"\n", sda)
	// NVMe multipath, seen at https://github.com/canonical/lxd/issues/18609.
	f("(unknown) "+numbers+"\n8:16 "+numbers+"\n", sda)

	refuse := func(text string, want error) {
		t.Helper()
		got, err := parseIOStat([]byte(text), nil)
		if !errors.Is(err, want) || len(got) > 0 {
			t.Errorf("parseIOStat(%q) = %v, %v; want nothing, %v", text, got, err, want)
		}
	}
	refuse("8:16 "+numbers, ErrTruncated)
	refuse("8:16 "+numbers+"\n8:0 rbytes=9", ErrTruncated)
	refuse("8:16 ", ErrTruncated) // 5.15 again: one sample without IO, not one with less
	refuse("8 "+numbers+"\n", ErrMalformed)
	refuse(":16 "+numbers+"\n", ErrMalformed)
	refuse("8:-1 "+numbers+"\n", ErrMalformed)
	refuse("4294967296:0 "+numbers+"\n", ErrMalformed)
	refuse("8:16 rbytes=\n", ErrMalformed)
	refuse("8:16 rbytes\n", ErrMalformed)
	refuse("8:16 rbytes=1x wbytes=0 rios=0 wios=0\n", ErrMalformed)
	refuse("8:16 rbytes=1 8:0 wbytes=2 rios=3 wios=4\n", ErrMalformed)
	refuse("\n", ErrMalformed)
	refuse(manyDevices(maxDevices+1, "%d:0 rbytes=1 wbytes=1 rios=1 wios=1\n"), ErrMalformed)
	f(manyDevices(1, "%d:0 rbytes=1\n"), DeviceIO{ReadBytes: 1})
}

func manyDevices(n int, form string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, form, i)
	}
	return b.String()
}

func TestParseBlkio(t *testing.T) {
	f := func(text string, before []DeviceIO, want ...DeviceIO) {
		t.Helper()
		got, err := parseBlkio([]byte(text), before, blkioBytes)
		if err != nil {
			t.Errorf("parseBlkio(%q): %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("parseBlkio(%q): (-want +got)\n%s", text, diff)
		}
	}
	const vda = "254:0 Read 13631488\n254:0 Write 54009856\n254:0 Sync 39854080\n254:0 Async 40894464\n254:0 Discard 13107200\n254:0 Total 80748544\n"
	disk := DeviceIO{Major: 254, ReadBytes: 13631488, WriteBytes: 54009856}
	f("Total 0\n", nil)
	f(vda+"Total 80748544\n", nil, disk)
	f(vda+"8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 80748547\n", nil, disk, DeviceIO{Major: 8, ReadBytes: 1, WriteBytes: 2})
	f(vda+"Total 80748544\n", []DeviceIO{{Major: 254, Reads: 5, Writes: 6}}, DeviceIO{Major: 254, ReadBytes: 13631488, WriteBytes: 54009856, Reads: 5, Writes: 6})
	// NVMe multipath, seen at https://github.com/containerd/cgroups/issues/393.
	f("(unknown) Read 7\n(unknown) Write 7\n(unknown) Total 14\n"+vda+"Total 80748558\n", nil, disk)

	refuse := func(text string, want error) {
		t.Helper()
		if _, err := parseBlkio([]byte(text), nil, blkioBytes); !errors.Is(err, want) {
			t.Errorf("parseBlkio(%q): %v; want %v", text, err, want)
		}
	}
	refuse("", ErrMissingKey)
	refuse(vda, ErrMissingKey) // cut at a line end
	refuse(vda+"Total 8074", ErrTruncated)
	refuse("254:0 Read\nTotal 0\n", ErrMalformed)
	refuse("254:0 Read -1\nTotal 0\n", ErrMalformed)
	refuse("254 Read 1\nTotal 1\n", ErrMalformed)
	refuse("\nTotal 1\n", ErrMalformed)
	refuse(manyDevices(maxDevices+1, "%d:0 Read 1\n")+"Total 1\n", ErrMalformed)
}

// TestBlkioPair: bytes and operations are two files, and what one lacks must
// not be made up from the other, or from an earlier pass.
func TestBlkioPair(t *testing.T) {
	const (
		bytesText = "8:0 Read 10\n8:0 Write 20\nTotal 30\n"
		opsText   = "8:0 Read 1\n8:0 Write 2\n8:16 Read 3\nTotal 6\n"
	)
	stale := []DeviceIO{{Major: 8, Minor: 32, ReadBytes: 7, WriteBytes: 7, Reads: 7, Writes: 7}}
	f := func(bytesText, opsText string, want ...DeviceIO) {
		t.Helper()
		s := Sample{IO: append([]DeviceIO{}, stale...)}
		if bytesText != "" && parseV1IOBytes([]byte(bytesText), &s) == nil {
			s.Have |= PartIOBytes
		}
		if err := parseV1IOOperations([]byte(opsText), &s); err == nil {
			s.Have |= PartIOOperations
		}
		if cmp.Diff(want, s.IO) != "" {
			t.Errorf("have %b: (-want +got)\n%s", s.Have, cmp.Diff(want, s.IO))
		}
	}
	f(bytesText, opsText, DeviceIO{8, 0, 10, 20, 1, 2}, DeviceIO{8, 16, 0, 0, 3, 0})
	f("", opsText, DeviceIO{8, 0, 0, 0, 1, 2}, DeviceIO{8, 16, 0, 0, 3, 0})                                            // bytes could not be read
	f("8:32 Read 5\n8:32 Wr", opsText, DeviceIO{8, 0, 0, 0, 1, 2}, DeviceIO{8, 16, 0, 0, 3, 0})                        // nor parsed
	f(bytesText, "8:16 Read 3\n8:16 Write 4\n", DeviceIO{Major: 8, ReadBytes: 10, WriteBytes: 20})                     // operations cut
	f("Total 0\n", "(unknown) Read 4\nTotal 4\n", []DeviceIO{}...)                                                     // nothing named
	f(bytesText, "8:0 Read 1\n8:0 Write 2\nTotal 3\n", DeviceIO{8, 0, 10, 20, 1, 2})                                   // the usual pass
	f("8:16 Read 1\n8:16 Write 1\nTotal 2\n", "Total 0\n", DeviceIO{Major: 8, Minor: 16, ReadBytes: 1, WriteBytes: 1}) // no operations yet
}
