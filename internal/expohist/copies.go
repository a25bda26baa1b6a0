package expohist

// Point is an exponential histogram as OTLP has it, with the zero bucket for
// zero only.
type Point struct {
	Count uint64
	// Sum is what the owner says. Min and Max are the one above the other if
	// there are no values.
	Sum, Min, Max      float64
	Scale              int32
	Zero               uint64
	Positive, Negative Row
}

// Row is the counts of neighbouring buckets from Offset on.
type Row struct {
	Offset int32
	Counts []uint64
}

// Copies makes points of histograms in memory that it uses again after a Reset.
// The zero value is ready. It is for one goroutine.
type Copies struct {
	points []Point
	counts []uint64
}

// Take copies a histogram. Points refer to what it returns, so that a full slice
// is left to them and a larger one begun.
func (c *Copies) Take(h *Histogram, sum float64) *Point {
	if len(c.points) == cap(c.points) {
		c.points = make([]Point, 0, max(64, 2*cap(c.points)))
	}
	c.points = append(c.points, Point{
		Sum:   sum,
		Min:   h.min,
		Max:   h.max,
		Scale: int32(h.scale),
		Zero:  h.zero,
		Count: h.zero,
	})
	p := &c.points[len(c.points)-1]
	p.Positive = c.row(&h.positive, &p.Count)
	if h.negative != nil {
		p.Negative = c.row(h.negative, &p.Count)
	}
	return p
}

// Counts is how many counters the points hold since the last Reset, but for those
// in slices that were left to them.
func (c *Copies) Counts() int { return len(c.counts) }

// Reset takes the memory of all points back.
func (c *Copies) Reset() {
	c.points = c.points[:0]
	c.counts = c.counts[:0]
}

func (c *Copies) row(from *buckets, count *uint64) Row {
	n := from.len()
	if len(c.counts)+n > cap(c.counts) {
		c.counts = make([]uint64, 0, max(1024, 2*cap(c.counts)))
	}
	start := len(c.counts)
	for i := range n {
		v := from.at(i)
		c.counts = append(c.counts, v)
		*count += v
	}
	return Row{Offset: from.first, Counts: c.counts[start:len(c.counts):len(c.counts)]}
}
