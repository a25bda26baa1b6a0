package expohist

import (
	"math"
	"math/big"
)

// MaxScale is the finest scale: buckets half a percent wide, which bounds the
// error of a percentile by 0.3 %. A finer one would need a larger table, and 160
// buckets would cover less than an octave and a quarter before they are merged.
const MaxScale = 7

const (
	perOctave    = 1 << MaxScale
	mantissaBits = 52
	mantissaMask = 1<<mantissaBits - 1
	exponentBias = 1023
	// guessBits is twice as fine as the buckets, so that a guess is one too low
	// at the most.
	guessBits = MaxScale + 1
)

// mapping holds the borders of the buckets of one octave, as mantissas: those of
// 2^(k/128), rounded down. guess is the bucket of the first mantissa with the
// given upper bits.
type mapping struct {
	border [perOctave + 1]uint64
	guess  [1 << guessBits]uint8
}

var octave = newMapping()

func newMapping() *mapping {
	// 200 bits leave no doubt about where a border lies between two of 53 bits.
	const precision = 200
	step := new(big.Float).SetPrec(precision).SetInt64(2)
	for range MaxScale {
		step.Sqrt(step)
	}
	m := &mapping{}
	border := new(big.Float).SetPrec(precision).SetInt64(1)
	for k := range perOctave {
		down := new(big.Float).SetPrec(mantissaBits + 1).SetMode(big.ToZero).Set(border)
		f, _ := down.Float64()
		m.border[k] = math.Float64bits(f) & mantissaMask
		border.Mul(border, step)
	}
	m.border[perOctave] = 1 << mantissaBits
	k := 0
	for g := range m.guess {
		for m.border[k+1] <= uint64(g)<<(mantissaBits-guessBits) {
			k++
		}
		m.guess[g] = uint8(k)
	}
	return m
}

// bucketOf returns the bucket of a positive number at MaxScale: i, if it is above
// 2^(i/128) and not above 2^((i+1)/128), as OTLP has it. Shifted right by one it
// is the bucket of the next coarser scale.
func bucketOf(v float64) int32 {
	bits := math.Float64bits(v)
	exponent := int32(-exponentBias)
	if bits>>mantissaBits == 0 {
		// Too small for an exponent of its own.
		bits = math.Float64bits(v * (1 << mantissaBits))
		exponent -= mantissaBits
	}
	// Upper borders belong to their bucket: of the number just below, the bucket
	// is the one whose lower border is not above it.
	bits--
	mantissa := bits & mantissaMask
	k := int32(octave.guess[mantissa>>(mantissaBits-guessBits)])
	for octave.border[k+1] <= mantissa {
		k++
	}
	return (exponent+int32(bits>>mantissaBits))<<MaxScale + k
}
