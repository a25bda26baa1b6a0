package origin

import (
	"bytes"
	"strconv"
	"time"

	"github.com/tallymanhq/tallyman/internal/container"
)

// ClientMode says what the origin fields of clients (c: and e:) count.
type ClientMode uint8

// The modes.
const (
	// ClientOff: nothing.
	ClientOff ClientMode = iota
	// ClientFallback: where the kernel does not tell.
	ClientFallback
	// ClientFirst: more than the kernel's word. For relays, which are the
	// sender of what others send; any client may then take any name.
	ClientFirst
)

const (
	// maxClaims bounds the remembered texts. A host runs some
	// hundred containers; who sends more texts than that makes them up.
	maxClaims = 4096
	// maxClaim bounds each, in bytes. An id has 64, a pod uid 36, the name of a
	// container 63 (RFC 1123).
	maxClaim = 256
	// claimFor is how long an answer is good: containers come and go.
	claimFor = 5 * time.Second
)

// Claims remembers what the texts of clients mean. It is not safe for concurrent
// use.
type Claims struct {
	r      *Resolver
	byText map[string]claim
	key    []byte
}

type claim struct {
	origin *Origin // nil if the text says nothing
	until  time.Duration
}

// Claims makes an empty memory of the texts of clients.
func (r *Resolver) Claims() *Claims { return &Claims{r: r, byText: map[string]claim{}} }

// Claim returns who a sample is of, given the time on [Clock], what the kernel
// said of its datagram, and the texts behind c: and e:, without these prefixes;
// empty if not sent.
func (c *Claims) Claim(now time.Duration, kernel *Origin, local, external []byte) *Origin {
	mode := c.r.o.Client
	if mode == ClientOff || len(local)+len(external) == 0 || len(local)+len(external) > maxClaim {
		return kernel
	}
	if mode == ClientFallback && kernel.Kind != KindNone {
		return kernel
	}
	c.key = append(append(append(c.key[:0], local...), '|'), external...)
	known, ok := c.byText[string(c.key)]
	if !ok || now >= known.until {
		known = claim{origin: c.r.claimed(local, external), until: now + claimFor}
		if len(c.byText) >= maxClaims {
			clear(c.byText)
		}
		c.byText[string(c.key)] = known
	}
	if known.origin == nil {
		return kernel
	}
	return known.origin
}

// claimed is what the texts of a client mean, nil for nothing.
func (r *Resolver) claimed(local, external []byte) *Origin {
	id, inode := parseLocal(local)
	name, pod := parseExternal(external)
	o := Origin{Kind: KindClient, ContainerID: id, PodUID: pod, ContainerName: name}
	if cg, ok := r.o.View.Index().ByInode(inode); ok && inode != 0 && cg.Class == container.ClassContainer {
		o.ContainerID, o.Verified = cg.ID, true
	}
	if o.ContainerID == "" && o.PodUID == "" {
		return nil
	}
	if cg, ok := r.o.View.Index().ByID(o.ContainerID); ok && o.ContainerID != "" {
		o.Runtime = cg.Runtime
		if cg.PodUID != "" {
			o.PodUID = cg.PodUID
		}
	}
	return r.pool.intern(o)
}

// parseLocal reads "ID", "cid-ID", or a list of "ci-ID" and "in-INODE" with
// commas; 0 and "" for what is not there or makes no sense.
func parseLocal(text []byte) (id string, inode uint64) {
	if !isPlain(text) {
		return "", 0
	}
	inList := bytes.IndexByte(text, ',') >= 0
	for part := range bytes.SplitSeq(text, []byte(",")) {
		if v, ok := bytes.CutPrefix(part, []byte("ci-")); ok {
			id = string(v)
		} else if v, ok := bytes.CutPrefix(part, []byte("in-")); ok {
			inode, _ = strconv.ParseUint(string(v), 10, 64)
			if inode == ^uint64(0) {
				inode = 0 // out of range
			}
		} else if !inList {
			id = string(bytes.TrimPrefix(part, []byte("cid-")))
		}
	}
	return id, inode
}

// parseExternal reads "it-INIT,cn-NAME,pu-UID" in any order. Whether it is an
// init container does not matter here.
func parseExternal(text []byte) (name, pod string) {
	if !isPlain(text) {
		return "", ""
	}
	for part := range bytes.SplitSeq(text, []byte(",")) {
		if v, ok := bytes.CutPrefix(part, []byte("cn-")); ok {
			name = string(v)
		} else if v, ok := bytes.CutPrefix(part, []byte("pu-")); ok {
			pod = string(v)
		}
	}
	return name, pod
}

// isPlain: printable ASCII, as all ids and names are.
func isPlain(text []byte) bool {
	for _, b := range text {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return true
}
