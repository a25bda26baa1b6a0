package transport

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"
)

const (
	// NoPID is the PID of a datagram that came without credentials, as all over
	// UDP do. 0 is a sender that our pid namespace does not show.
	NoPID = -1
	// NoUID goes with NoPID. No user has it: chown(2) takes it for "unchanged".
	NoUID = math.MaxUint32
)

// sender is what the control messages of one datagram tell.
type sender struct {
	pid   int
	uid   uint32
	pidFD int
}

const (
	// ucredBytes is the size of struct ucred: pid, uid, gid (unix(7)).
	ucredBytes = unix.SizeofUcred
	fdBytes    = 4
)

// controlBytes is the room for the control messages that are asked for. There is
// no more, so that what a sender attaches does not fit beside them.
func controlBytes(credentials, pidFDs bool) int {
	n := 0
	if credentials {
		n += unix.CmsgSpace(ucredBytes)
	}
	if pidFDs {
		n += unix.CmsgSpace(fdBytes)
	}
	return n
}

// parseControl reads control messages (cmsg(3)): a length of the machine's word
// size that counts the header, then level and type, 4 bytes each, then the
// content, and room up to the next multiple of the word size. Descriptors that
// the sender attached (SCM_RIGHTS) are returned through dropped for closing.
func parseControl(b []byte, dropped func(fd int)) sender {
	from := sender{pid: NoPID, uid: NoUID, pidFD: -1}
	header := unix.CmsgLen(0)
	for len(b) >= header {
		length := wordAt(b)
		if length < uint64(header) || length > uint64(len(b)) {
			break
		}
		kind := binary.NativeEndian.Uint32(b[header-4:])
		if level := binary.NativeEndian.Uint32(b[header-8:]); level == unix.SOL_SOCKET {
			from.take(kind, b[header:length], dropped)
		}
		// The last one may lack the room behind it.
		b = b[min(len(b), unix.CmsgSpace(int(length)-header)):]
	}
	return from
}

func (s *sender) take(kind uint32, content []byte, dropped func(fd int)) {
	switch kind {
	case unix.SCM_CREDENTIALS:
		if len(content) >= ucredBytes {
			s.pid = int(int32At(content))
			s.uid = binary.NativeEndian.Uint32(content[4:])
		}
	case unix.SCM_PIDFD:
		// Negative is the reason why there is none, such as no room for one.
		if len(content) >= fdBytes && int32At(content) >= 0 {
			if s.pidFD >= 0 {
				dropped(s.pidFD)
			}
			s.pidFD = int(int32At(content))
		}
	case unix.SCM_RIGHTS:
		for ; len(content) >= fdBytes; content = content[fdBytes:] {
			dropped(int(int32At(content)))
		}
	}
}

func int32At(b []byte) int32 {
	return int32(binary.NativeEndian.Uint32(b))
}

// wordAt reads a size_t. Both headers end with two numbers of 4 bytes.
func wordAt(b []byte) uint64 {
	if unix.CmsgLen(0) == 16 {
		return binary.NativeEndian.Uint64(b)
	}
	return uint64(binary.NativeEndian.Uint32(b))
}
