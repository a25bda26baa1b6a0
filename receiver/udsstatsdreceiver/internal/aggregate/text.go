package aggregate

import "strings"

// chunkBytes is how much text shares one allocation. Names and tags of a
// context are about 130 bytes, so that 2,000 contexts share a chunk. The first
// chunk of a table is smaller, and each next one twice as large.
const (
	firstChunkBytes = 16 << 10
	chunkBytes      = 256 << 10
)

// texts keeps names and tags. Text is only ever appended, and chunks are left to
// the garbage collector: strings that were handed out stay good for ever.
type texts struct {
	chunks []*chunk // nil where one was dropped
	free   []uint32 // places of dropped chunks
	last   uint32   // the chunk that is written
	size   int      // bytes of all chunks
}

type chunk struct {
	b    strings.Builder
	size int
	live int // bytes that contexts still have in it
}

// text says where a text is.
type text struct {
	chunk, offset uint32
}

// put copies a text.
func (a *texts) put(s []byte) text {
	if a.growth(len(s)) > 0 {
		a.add(a.growth(len(s)))
	}
	c := a.chunks[a.last]
	at := text{a.last, uint32(c.b.Len())}
	c.b.Write(s)
	c.live += len(s)
	return at
}

func (a *texts) add(size int) {
	previous := a.last
	c := &chunk{size: size}
	c.b.Grow(size)
	a.size += size
	a.last = uint32(len(a.chunks))
	if n := len(a.free); n > 0 {
		a.last = a.free[n-1]
		a.free = a.free[:n-1]
		a.chunks[a.last] = c
	} else {
		a.chunks = append(a.chunks, c)
	}
	a.retire(previous)
}

// get returns n bytes of text.
func (a *texts) get(at text, n int) string {
	return a.chunks[at.chunk].b.String()[at.offset : int(at.offset)+n]
}

// drop says that n bytes are needed no more.
func (a *texts) drop(at text, n int) {
	c := a.chunks[at.chunk]
	c.live -= n
	a.retire(at.chunk)
}

// retire lets go of a chunk that nobody needs and that is not being written.
func (a *texts) retire(i uint32) {
	c := a.chunks[i]
	if i == a.last || c.live > 0 {
		return
	}
	a.size -= c.size
	a.chunks[i] = nil
	a.free = append(a.free, i)
}

// isSparse is true for text whose chunk is mostly of no use: who moves it gets
// the chunk free.
func (a *texts) isSparse(at text) bool {
	c := a.chunks[at.chunk]
	return at.chunk != a.last && 2*c.live < c.size
}

// growth is how many bytes a put of n bytes allocates.
func (a *texts) growth(n int) int {
	if len(a.chunks) == 0 {
		return max(firstChunkBytes, n)
	}
	if c := a.chunks[a.last]; c.b.Len()+n <= c.size {
		return 0
	}
	return max(min(chunkBytes, 2*a.chunks[a.last].size), n)
}
