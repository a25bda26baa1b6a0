package project

import (
	"bytes"

	"github.com/tallymanhq/tallyman/internal/secret"
)

// The forms that kept text must have. They are wide enough for all that engines
// write, and narrow enough that a sentence or a command line is none.

// isID is a hex number, a digest, or a number of the swarm (base 36).
func isID(text []byte) bool {
	const longest = 160 // sha512: and its 128 digits
	return len(text) <= longest && consists(text, func(c byte) bool {
		return alphanumeric(c) || c == ':' || c == '-'
	})
}

// isTime is a time in RFC 3339.
func isTime(text []byte) bool {
	const longest = len("2006-01-02T15:04:05.000000000+00:00")
	return len(text) <= longest && consists(text, func(c byte) bool {
		return '0' <= c && c <= '9' || c == '-' || c == '+' || c == ':' || c == '.' || c == 'T' || c == 'Z'
	})
}

// isName is what the engine takes as the name of a container, with the slash
// it puts before it.
func isName(text []byte) bool {
	const longest = 255
	text = bytes.TrimPrefix(text, []byte("/"))
	return len(text) <= longest && consists(text, func(c byte) bool {
		return alphanumeric(c) || c == '_' || c == '.' || c == '-'
	})
}

// isWord is one word of printable ASCII: references, addresses, states. None of
// them has an equals sign, as assignments have.
func isWord(text []byte) bool {
	const longest = 512 // a reference has 255 bytes and a digest
	return len(text) <= longest && consists(text, func(c byte) bool {
		return 0x20 < c && c < 0x7f && c != '"' && c != '\'' && c != '\\' && c != '='
	})
}

// isText is a text of bearable length that assigns no secret.
func isText(text []byte) bool {
	const longest = 4096 // PATH_MAX
	return len(text) <= longest && !secret.Assigned(text)
}

// isPort is a port, or a range of ports, with its protocol: 80/tcp.
func isPort(text []byte) bool {
	number, protocol, ok := bytes.Cut(text, []byte("/"))
	if !ok || len(number) == 0 || len(number) > len("65535-65535") {
		return false
	}
	switch string(protocol) {
	case "tcp", "udp", "sctp":
	default:
		return false
	}
	return consists(number, func(c byte) bool { return '0' <= c && c <= '9' || c == '-' })
}

func consists(text []byte, of func(byte) bool) bool {
	for _, c := range text {
		if !of(c) {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
