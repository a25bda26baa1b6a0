package container

import "strings"

const (
	zeroUUID = "00000000-0000-0000-0000-000000000000"
	uuidLen  = len(zeroUUID)
)

// podUIDAbove returns the uid of the nearest pod at or above c. A pod whose
// uid is malformed ends the search: an outer pod is not this one's.
func podUIDAbove(c component) string {
	for ok := true; ok; c, ok = c.up() {
		if uid, isPod := podUID(c.name()); isPod {
			return uid
		}
	}
	return ""
}

// podUID reads the uid out of podUID, *kubepods[-QOS]-podUID.slice, or the
// first part of the colon form. isPod with an empty uid is a malformed pod.
func podUID(name string) (uid string, isPod bool) {
	if uid, ok := strings.CutPrefix(name, "pod"); ok && isPodUID(uid) {
		return uid, true
	}
	if slice, _, _, ok := cutColons(name); ok {
		name = slice
	}
	stem, ok := strings.CutSuffix(name, ".slice")
	at := strings.LastIndex(stem, "-pod")
	if !ok || at < 0 {
		return "", false
	}
	head := stem[:at]
	for _, qos := range [...]string{"-burstable", "-besteffort", "-guaranteed"} {
		if h, cut := strings.CutSuffix(head, qos); cut {
			head = h
			break
		}
	}
	if head != "kubepods" && !strings.HasSuffix(head, "-kubepods") {
		return "", false
	}
	// systemd reads "-" in a slice name as nesting, so the kubelet writes "_".
	uid = strings.ReplaceAll(stem[at+len("-pod"):], "_", "-")
	if !isPodUID(uid) {
		return "", true
	}
	return uid, true
}

// isPodUID: a uuid, or for static pods the hash of their configuration.
func isPodUID(s string) bool { return isUUID(s) || isHex(s, 32) }

// taskAbove returns the Amazon ECS task c runs in.
func taskAbove(c component) string {
	nearest := ""
	for above, ok := c.up(); ok; above, ok = above.up() {
		name := above.name()
		if name == "ecs" {
			return nearest
		}
		if t, cut := strings.CutPrefix(name, "ecstasks-"); cut {
			if t, cut = strings.CutSuffix(t, ".slice"); cut && isTask(t) {
				return t
			}
		}
		if nearest == "" && isTask(name) {
			nearest = name
		}
	}
	return ""
}

func isTask(s string) bool { return isHex(s, 32) || isUUID(s) }

func isID(s string) bool { return isHex(s, idLen) }

// isHex reports exactly n lower-case hex digits.
func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range len(s) {
		if !isHexDigit(s[i]) {
			return false
		}
	}
	return true
}

func isHexDigit(b byte) bool { return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' }

func isUUID(s string) bool { return len(s) == uuidLen && isUUIDPrefix(s) }

// isUUIDPrefix takes at most uuidLen bytes.
func isUUIDPrefix(s string) bool {
	for i := range len(s) {
		if dash := zeroUUID[i] == '-'; dash != (s[i] == '-') || !dash && !isHexDigit(s[i]) {
			return false
		}
	}
	return true
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// isName reports whether s can be the name of a container that has a name
// instead of an id: units below a directory "lxc" are no containers.
func isName(s string) bool { return s != "" && unitSuffix(s) == "" }

// unescape undoes systemd's \xNN. Anything that is not such an escape stays.
func unescape(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i+3 < len(s) && s[i] == '\\' && s[i+1] == 'x' && isHexDigit(s[i+2]) && isHexDigit(s[i+3]) {
			b.WriteByte(hexValue(s[i+2])<<4 | hexValue(s[i+3]))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func hexValue(b byte) byte {
	if b <= '9' {
		return b - '0'
	}
	return b - 'a' + 10
}
