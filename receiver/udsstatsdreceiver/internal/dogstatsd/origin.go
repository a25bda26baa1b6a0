package dogstatsd

import "bytes"

// LocalData is what a client says about its own container: the text behind c:.
type LocalData struct {
	// ContainerID points into the text that was parsed; empty if not given.
	ContainerID []byte
	// Inode is that of the client's cgroup, 0 if not given.
	Inode uint64
}

// ParseLocalData reads a container id, as it is or behind ci- or cid-, or an
// inode behind in-; or ci- and in- in a list, where nothing else is understood.
// It is not ok if an inode is no number, which leaves the rest in place.
func ParseLocalData(text []byte) (data LocalData, ok bool) {
	ok = true
	isList := bytes.IndexByte(text, ',') >= 0
	for item := range bytes.SplitSeq(text, []byte(",")) {
		key, value := itemKey(item)
		switch {
		case key == "ci":
			data.ContainerID = value
		case key == "in":
			var okInode bool
			data.Inode, okInode = parseUint(value)
			ok = ok && okInode
		case isList:
		case key == "cid":
			data.ContainerID = value
		default:
			data.ContainerID = item
		}
	}
	return data, ok
}

// ExternalData is what an admission controller told a client about its
// container: the text behind e:.
type ExternalData struct {
	// Init is true in an init container.
	Init bool
	// ContainerName and PodUID point into the text that was parsed; empty if
	// not given.
	ContainerName, PodUID []byte
}

// ParseExternalData reads a list of it-, cn- and pu-. It is not ok if something
// in it was not understood, which leaves the rest in place.
func ParseExternalData(text []byte) (data ExternalData, ok bool) {
	ok = true
	for item := range bytes.SplitSeq(text, []byte(",")) {
		key, value := itemKey(item)
		switch key {
		case "it":
			data.Init = string(value) == "true"
			ok = ok && (data.Init || string(value) == "false")
		case "cn":
			data.ContainerName = value
		case "pu":
			data.PodUID = value
		default:
			ok = ok && len(item) == 0
		}
	}
	return data, ok
}

// itemKey splits at the hyphen behind a known key; the key is empty if there is
// none.
func itemKey(item []byte) (key string, value []byte) {
	for _, key := range [...]string{"ci", "cid", "in", "it", "cn", "pu"} {
		if len(item) > len(key) && item[len(key)] == '-' && string(item[:len(key)]) == key {
			return key, item[len(key)+1:]
		}
	}
	return "", nil
}

// Cardinality is how many tags of the sender's container a client asks for.
type Cardinality uint8

// The cardinalities, from few tags to many.
const (
	CardinalityDefault Cardinality = iota // nothing asked: as configured
	CardinalityNone
	CardinalityLow
	CardinalityOrchestrator
	CardinalityHigh
)

// String is the word of the protocol.
func (c Cardinality) String() string { return cardinalityNames[min(int(c), len(cardinalityNames)-1)] }

var cardinalityNames = [...]string{
	CardinalityDefault: "default", CardinalityNone: "none", CardinalityLow: "low",
	CardinalityOrchestrator: "orchestrator", CardinalityHigh: "high", CardinalityHigh + 1: "unknown",
}

// ParseCardinality reads the text behind card: or dd.internal.card:, in any
// case. It is not ok, and CardinalityDefault, if the word is not known.
func ParseCardinality(text []byte) (c Cardinality, ok bool) {
	if bytes.EqualFold(text, []byte("orch")) {
		return CardinalityOrchestrator, true
	}
	for c := CardinalityNone; c <= CardinalityHigh; c++ {
		if bytes.EqualFold(text, []byte(c.String())) {
			return c, true
		}
	}
	return CardinalityDefault, len(text) == 0
}
