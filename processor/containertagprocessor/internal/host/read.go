package host

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

const (
	keyName = "host.name"

	// maxName bounds a host name: the longest of the DNS. The kernel's has 64.
	maxName = 253
	// maxText bounds a value of os-release, in bytes. Debian's have 30.
	maxText = 256
)

// Read returns what is known of the host below roots, in a fixed order.
func Read(roots hostfs.Roots) []entity.Attribute {
	release := readRelease(roots)
	all := []entity.Attribute{
		{Key: keyName, Value: hostName(roots)},
		{Key: "host.id", Value: hostID(roots)},
		{Key: "host.arch", Value: machineArch()},
		{Key: "os.type", Value: "linux"},
		{Key: "os.description", Value: release["PRETTY_NAME"]},
		{Key: "os.version", Value: release["VERSION_ID"]},
	}
	known := all[:0]
	for _, a := range all {
		if a.Value != "" {
			known = append(known, a)
		}
	}
	return known
}

func hostName(roots hostfs.Roots) string {
	if roots.IsHost() || sharesUTS(roots) {
		name, err := os.Hostname()
		if err == nil && isName(name) {
			return name
		}
	}
	content, err := readBelow(roots.Root, "etc/hostname")
	if err != nil {
		return ""
	}
	return parseHostName(content)
}

// sharesUTS tells whether the kernel tells this process the host's name: its
// UTS namespace is that of the host's first process. Who may not look at that
// process does not know, which counts as no.
func sharesUTS(roots hostfs.Roots) bool {
	host, err := os.Readlink(filepath.Join(roots.Proc, "1", "ns", "uts"))
	if err != nil {
		return false
	}
	own, err := os.Readlink("/proc/self/ns/uts")
	return err == nil && own == host
}

// parseHostName returns the first line that is neither empty nor a comment, as
// hostname(5) says.
func parseHostName(content []byte) string {
	for line := range bytes.Lines(content) {
		name := string(bytes.TrimSpace(line))
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		if !isName(name) {
			return ""
		}
		return name
	}
	return ""
}

func isName(name string) bool {
	return name != "" && name != "(none)" && len(name) <= maxName &&
		!strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}

// hostID prefers the id of the installation, which the conventions ask for and
// everybody may read, to that of the machine.
func hostID(roots hostfs.Roots) string {
	for _, name := range []string{"etc/machine-id", "var/lib/dbus/machine-id"} {
		content, err := readBelow(roots.Root, name)
		if err != nil {
			continue
		}
		if id := parseMachineID(content); id != "" {
			return id
		}
	}
	content, err := hostfs.ReadFile(filepath.Join(roots.Sys, "class", "dmi", "id", "product_uuid"), nil)
	if err != nil {
		return ""
	}
	return parseUUID(content)
}

// parseMachineID returns the 32 hexadecimal digits of machine-id(5), or "" for
// anything else: an image before its first boot has "uninitialized" there.
func parseMachineID(content []byte) string {
	id := strings.ToLower(string(bytes.TrimSpace(content)))
	if len(id) != 32 || !isHex(id) || isOneDigit(id) {
		return ""
	}
	return id
}

// parseUUID returns a UUID with dashes in small letters, or "" for anything
// else. All zeros and all ones mean that the maker has set none (SMBIOS 7.2.1).
func parseUUID(content []byte) string {
	id := strings.ToLower(string(bytes.TrimSpace(content)))
	digits := strings.ReplaceAll(id, "-", "")
	if len(id) != 36 || len(digits) != 32 || !isHex(digits) || isOneDigit(digits) {
		return ""
	}
	return id
}

func isHex(text string) bool { return strings.Trim(text, "0123456789abcdef") == "" }

func isOneDigit(text string) bool { return strings.Trim(text, text[:1]) == "" }

func machineArch() string {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return ""
	}
	return Arch(unix.ByteSliceToString(uts.Machine[:]))
}

// Arch turns the machine of uname(2) into the value of host.arch. A machine that
// the semantic conventions (1.41) do not list stays as it is, as they say.
func Arch(machine string) string {
	switch {
	case machine == "x86_64":
		return "amd64"
	case machine == "aarch64" || machine == "aarch64_be":
		return "arm64"
	case strings.HasPrefix(machine, "arm"):
		return "arm32"
	case len(machine) == 4 && machine[0] == 'i' && strings.HasSuffix(machine, "86"):
		return "x86"
	case machine == "ppc64" || machine == "ppc64le":
		return "ppc64"
	case machine == "ppc":
		return "ppc32"
	}
	return machine // s390x and ia64 are called so there, too
}

func isText(text string) bool {
	return text != "" && len(text) <= maxText && utf8.ValidString(text) &&
		!strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}
