package cgroup

import (
	"bytes"
	"fmt"
	"math"
)

// maxDevices bounds the devices of one cgroup; the rest is an error, so that
// a broken file cannot grow the sample without end.
const maxDevices = 4096

// parseIOStat reads v2 io.stat:
//
//	8:0 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0
//
// Other keys (cost.*, use_delay) are skipped; a line may hold a device alone.
// Kernels from 5.15 until "blk-cgroup: always terminate io.stat lines" left the
// line end out after a device without numbers, so that several stand in front
// of one list, which is the last one's:
//
//	7:7 7:6 7:5 rbytes=28672 wbytes=0 rios=22 wios=0 dbytes=0 dios=0
//
// A device that the kernel cannot name (NVMe multipath) reads "(unknown)"; its
// numbers belong nowhere and are skipped.
func parseIOStat(b []byte, io []DeviceIO) ([]DeviceIO, error) {
	io = io[:0]
	for len(b) > 0 {
		line, rest, ok := cutLine(b)
		if !ok {
			return io[:0], fmt.Errorf("line %q: %w", clip(b), ErrTruncated)
		}
		b = rest
		if bytes.HasPrefix(line, unknownDevice) {
			continue
		}
		d, any, ok := parseIOStatLine(line)
		if !ok || len(io) == maxDevices {
			return io[:0], malformed("line", line)
		}
		if any {
			io = append(io, d)
		}
	}
	return io, nil
}

// unknownDevice starts the line of a queue without a device (bdi_dev_name in
// mm/backing-dev.c).
var unknownDevice = []byte("(unknown) ")

func parseIOStatLine(line []byte) (d DeviceIO, any, ok bool) {
	dev, values := cutWord(line)
	if d.Major, d.Minor, ok = parseDevice(dev); !ok {
		return d, false, false
	}
	for len(values) > 0 {
		word, rest := cutWord(values)
		values = rest
		key, value, found := bytes.Cut(word, equals)
		if major, minor, isDevice := parseDevice(word); !found && isDevice {
			if any {
				return d, false, false // numbers in front of their device
			}
			d.Major, d.Minor = major, minor
			continue
		}
		var dst *uint64
		switch string(key) {
		case "rbytes":
			dst = &d.ReadBytes
		case "wbytes":
			dst = &d.WriteBytes
		case "rios":
			dst = &d.Reads
		case "wios":
			dst = &d.Writes
		default:
			continue
		}
		if *dst, ok = parseUint(value); !ok {
			return d, false, false
		}
		any = true
	}
	return d, any, true
}

// blkioFile says which numbers of a DeviceIO a v1 file carries.
type blkioFile uint8

const (
	blkioBytes blkioFile = iota
	blkioOperations
)

// parseBlkio reads v1 blkio.*.io_service_bytes and io_serviced:
//
//	8:0 Read 1459200
//	8:0 Write 314773504
//	8:0 Total 316232704
//	Total 316232704
//
// into the devices of io, adding those that are not there yet. Lines of
// "(unknown)" devices are skipped, as in io.stat.
func parseBlkio(b []byte, io []DeviceIO, file blkioFile) ([]DeviceIO, error) {
	sawTotal := false
	for len(b) > 0 {
		line, rest, ok := cutLine(b)
		if !ok {
			return io, fmt.Errorf("line %q: %w", clip(b), ErrTruncated)
		}
		b = rest
		dev, values := cutWord(line)
		if string(dev) == "Total" {
			sawTotal = true
			continue
		}
		if bytes.HasPrefix(line, unknownDevice) {
			continue
		}
		major, minor, ok := parseDevice(dev)
		if !ok {
			return io, malformed("line", line)
		}
		op, value := cutWord(values)
		v, ok := parseUint(value)
		if !ok {
			return io, malformed("line", line)
		}
		if io, ok = addBlkio(io, DeviceIO{Major: major, Minor: minor}, blkioValue{file, op, v}); !ok {
			return io, malformed("line", line)
		}
	}
	if !sawTotal {
		return io, fmt.Errorf("%q: %w", "Total", ErrMissingKey)
	}
	return io, nil
}

type blkioValue struct {
	file  blkioFile
	op    []byte
	value uint64
}

func addBlkio(io []DeviceIO, dev DeviceIO, v blkioValue) ([]DeviceIO, bool) {
	read, write := string(v.op) == "Read", string(v.op) == "Write"
	if !read && !write {
		return io, true // Sync, Async, Discard and Total repeat or add nothing
	}
	i := 0
	for i < len(io) && (io[i].Major != dev.Major || io[i].Minor != dev.Minor) {
		i++
	}
	if i == len(io) {
		if i == maxDevices {
			return io, false
		}
		io = append(io, dev)
	}
	switch d := &io[i]; {
	case v.file == blkioBytes && read:
		d.ReadBytes = v.value
	case v.file == blkioBytes:
		d.WriteBytes = v.value
	case read:
		d.Reads = v.value
	default:
		d.Writes = v.value
	}
	return io, true
}

func parseDevice(b []byte) (major, minor uint32, ok bool) {
	i := bytes.IndexByte(b, ':')
	if i < 0 {
		return 0, 0, false
	}
	a, ok := parseUint(b[:i])
	c, ok2 := parseUint(b[i+1:])
	if !ok || !ok2 || a > math.MaxUint32 || c > math.MaxUint32 {
		return 0, 0, false
	}
	return uint32(a), uint32(c), true
}
