package cgroup

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseValue(t *testing.T) {
	f := func(text string, want uint64) {
		t.Helper()
		got, err := parseValue([]byte(text))
		if err != nil || got != want {
			t.Errorf("parseValue(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	f("0\n", 0)
	f("65314816\n", 65314816)
	f("9223372036854771712\n", 9223372036854771712)
	f("18446744073709551615\n", math.MaxUint64)

	refuse := func(text string, want error) {
		t.Helper()
		got, err := parseValue([]byte(text))
		if !errors.Is(err, want) || got != 0 {
			t.Errorf("parseValue(%q) = %d, %v; want 0, %v", text, got, err, want)
		}
	}
	refuse("", ErrTruncated)
	refuse("1234", ErrTruncated) // 12345678 read in two pieces
	refuse("\n", ErrMalformed)
	refuse("1\n2\n", ErrMalformed)
	refuse("1\n\n", ErrMalformed)
	refuse("-1\n", ErrMalformed)
	refuse("+1\n", ErrMalformed)
	refuse(" 1\n", ErrMalformed)
	refuse("1 \n", ErrMalformed)
	refuse("1\r\n", ErrMalformed)
	refuse("1\x00\n", ErrMalformed)
	refuse("0x10\n", ErrMalformed)
	refuse("1e3\n", ErrMalformed)
	refuse("max\n", ErrMalformed)
	refuse("18446744073709551616\n", ErrMalformed)
	refuse("99999999999999999999\n", ErrMalformed)
	refuse("000000000000000000001\n", ErrMalformed) // 21 digits: no kernel number is that long
}

func TestParseErrorsQuoteLittle(t *testing.T) {
	for _, text := range []string{strings.Repeat("x", 8<<20), strings.Repeat("x", 8<<20) + "\n"} {
		_, err := parseValue([]byte(text))
		if err == nil || len(err.Error()) > 2*quoteMax {
			t.Errorf("error of %d bytes has %d bytes: %.100v", len(text), len(err.Error()), err)
		}
	}
}

func TestParseLimit(t *testing.T) {
	f := func(text string, want uint64) {
		t.Helper()
		got, err := parseLimit([]byte(text))
		if err != nil || got != want {
			t.Errorf("parseLimit(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	f("max\n", Unlimited)
	f("67108864\n", 67108864)
	f("0\n", 0)

	refuse := func(text string, want error) {
		t.Helper()
		got, err := parseLimit([]byte(text))
		if !errors.Is(err, want) || got != 0 {
			t.Errorf("parseLimit(%q) = %d, %v; want 0, %v", text, got, err, want)
		}
	}
	refuse("max", ErrTruncated)
	refuse("ma\n", ErrMalformed)
	refuse("max\nmax\n", ErrMalformed)
	refuse("", ErrTruncated)
}

func TestParseKeyed(t *testing.T) {
	type result struct{ A, B uint64 }
	parse := func(text string) (result, error) {
		r := result{A: 1000, B: 1000}
		err := parseKeyed([]byte(text), []field{{key: "a", dst: &r.A}, {key: "b", dst: &r.B, optional: true}})
		return r, err
	}
	f := func(text string, want result) {
		t.Helper()
		got, err := parse(text)
		if err != nil || got != want {
			t.Errorf("parseKeyed(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	f("a 1\nb 2\n", result{1, 2})
	f("b 2\na 1\n", result{1, 2}) // any order
	f("a 1\n", result{1, 1000})   // optional keys keep what was there
	f("new_in_7 9\na 1\nalso new 3\n\nb 2\n", result{1, 2})
	f("aa 5\na 1\n", result{1, 1000}) // a key is not a prefix

	refuse := func(text string, want error) {
		t.Helper()
		if _, err := parse(text); !errors.Is(err, want) {
			t.Errorf("parseKeyed(%q): %v; want %v", text, err, want)
		}
	}
	refuse("", ErrMissingKey)
	refuse("b 2\n", ErrMissingKey)
	refuse("a 1\nb 2", ErrTruncated)
	refuse("a 1\nb", ErrTruncated)
	refuse("a\n", ErrMalformed)
	refuse("a \n", ErrMalformed)
	refuse("a -1\n", ErrMalformed)
	refuse("a 1 2\n", ErrMalformed)
	refuse("a  1\n", ErrMalformed)
	refuse("a 1\na 2\n", ErrMalformed) // which of the two?
}

func TestParsePressure(t *testing.T) {
	f := func(text string, want Pressure) {
		t.Helper()
		got, err := parsePressure([]byte(text))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("parsePressure(%q): %v (-want +got)\n%s", text, err, diff)
		}
	}
	f("some avg10=2.91 avg60=0.73 avg300=0.16 total=497802\nfull avg10=2.91 avg60=0.73 avg300=0.16 total=492342\n", Pressure{
		Some:    Stall{Total: 497802000, Avg10: 0.0291, Avg60: 0.0073, Avg300: 0.0016},
		Full:    Stall{Total: 492342000, Avg10: 0.0291, Avg60: 0.0073, Avg300: 0.0016},
		HasFull: true,
	})
	const zero = " avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
	f("some avg10=100.00 avg60=99.99 avg300=0.01 total=1\n", Pressure{Some: Stall{Total: 1000, Avg10: 1, Avg60: 0.9999, Avg300: 0.0001}})
	f("some"+zero, Pressure{})
	f("some"+zero+"full"+zero, Pressure{HasFull: true})
	f("some"+zero+"idle avg1=0.00\n", Pressure{})                               // a line of a later kernel
	f("some avg5=7.00 avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", Pressure{}) // and a key

	refuse := func(text string, want error) {
		t.Helper()
		got, err := parsePressure([]byte(text))
		if !errors.Is(err, want) || got != (Pressure{}) {
			t.Errorf("parsePressure(%q) = %v, %v; want nothing, %v", text, got, err, want)
		}
	}
	refuse("", ErrMissingKey)
	refuse("full"+zero, ErrMissingKey) // irq.pressure has no "some"
	refuse("some avg10=0.00 avg60=0.00 avg300=0.00 total=4978", ErrTruncated)
	refuse("some"+zero+"full avg10=0.00", ErrTruncated)
	refuse("some\n", ErrMalformed)
	refuse("some avg10=0.00 avg60=0.00 avg300=0.00\n", ErrMalformed)
	refuse("some avg10=0.00 avg10=0.00 avg10=0.00 total=5\n", ErrMalformed)
	refuse("some"+zero+"full avg10=0.00 total=1\n", ErrMalformed)
	refuse(strings.Replace("some"+zero, "0.00", "100.01", 1), ErrMalformed)
	refuse(strings.Replace("some"+zero, "0.00", "101.00", 1), ErrMalformed)
	refuse(strings.Replace("some"+zero, "0.00", "-1.00", 1), ErrMalformed)
	refuse(strings.Replace("some"+zero, "0.00", "NaN", 1), ErrMalformed)
	refuse(strings.Replace("some"+zero, "0.00", "0.0", 1), ErrMalformed)
	refuse(strings.Replace("some"+zero, "0.00", ".00", 1), ErrMalformed)
	refuse(strings.Replace("some"+zero, "0.00", "1", 1), ErrMalformed)
	refuse(strings.Replace("some"+zero, "total=0", "total=9223372036854776", 1), ErrMalformed) // 292 years and more
	refuse(strings.Replace("some"+zero, "total=0", "total=", 1), ErrMalformed)
}
