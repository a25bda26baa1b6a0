package judge

// slope is the median of the slopes between all pairs of values (Theil 1950, Sen
// 1968).
func slope(values []float64) float64 {
	var slopes []float64
	for i := range values {
		for j := range i {
			slopes = append(slopes, (values[i]-values[j])/float64(i-j))
		}
	}
	return Median(slopes)
}

// kendall is the probability that values without any trend are in an order with as
// many rising pairs, less falling ones, or more (Kendall 1938, one-sided). Equal
// values are pairs that do neither. The distribution is that of values that all
// differ, which is wider, so that a trend is rather missed than made up.
func kendall(values []float64) float64 {
	n := len(values)
	rising := 0
	for i := range values {
		for j := range i {
			switch {
			case values[i] > values[j]:
				rising++
			case values[i] < values[j]:
				rising--
			}
		}
	}
	// In an order with k inversions (pairs that fall) rising less falling is
	// n(n-1)/2 - 2k. So at least `rising` of it means k of at most this:
	most := (n*(n-1)/2 - rising) / 2
	sum := 0.0
	for k, p := range inversions(n) {
		if k <= most {
			sum += p
		}
	}
	return sum
}

// inversions returns the probability of each number of inversions in an order of n
// different values. The n-th value, put into an order of the others, makes 0 to n-1
// new ones, each with the same probability.
func inversions(n int) []float64 {
	p := []float64{1}
	for m := 2; m <= n; m++ {
		next := make([]float64, m*(m-1)/2+1)
		window := 0.0
		for k := range next {
			if k < len(p) {
				window += p[k]
			}
			if k-m >= 0 && k-m < len(p) {
				window -= p[k-m]
			}
			next[k] = max(0, window) / float64(m)
		}
		p = next
	}
	return p
}
