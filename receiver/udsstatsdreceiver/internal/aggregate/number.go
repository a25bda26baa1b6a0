package aggregate

import "math"

// maxWeight caps 1/rate: nobody thins out further than one in a million in
// earnest, and with it a bucket of 64 bits takes 2^44 samples.
const maxWeight = 1 << 20

// number is a sum with what rounding took from it (Knuth's two-sum).
type number struct {
	sum, rest float64
}

// fits tells whether the sum stays finite with v.
func (n *number) fits(v float64) bool {
	return math.Abs(n.sum+v) <= math.MaxFloat64
}

func (n *number) add(v float64) {
	sum := n.sum + v
	part := sum - n.sum
	n.rest += (n.sum - (sum - part)) + (v - part)
	n.sum = sum
}

func (n *number) value() float64 { return n.sum + n.rest }

// weight is 1/rate, and whether that had to be capped.
func weight(rate float64) (float64, bool) {
	if rate == 1 {
		return 1, false
	}
	w := 1 / rate
	if w > maxWeight {
		return maxWeight, true
	}
	return max(w, 1), false
}
