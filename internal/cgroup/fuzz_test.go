package cgroup

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// naiveUint is a second opinion on numbers.
func naiveUint(t *testing.T, text string) uint64 {
	t.Helper()
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("a number was read from %q", text)
	}
	return v
}

func FuzzParseValue(f *testing.F) {
	for _, seed := range []string{"0\n", "65314816\n", "18446744073709551615\n", "18446744073709551616\n", "", "\n", "12", "1\n2\n", "-1\n", "max\n", "007\n", "\x00\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parseValue([]byte(text))
		if err != nil && v != 0 {
			t.Fatalf("%q: %d beside %v", text, v, err)
		}
		if err != nil {
			return
		}
		if want := naiveUint(t, strings.TrimSuffix(text, "\n")); v != want {
			t.Fatalf("%q: %d, want %d", text, v, want)
		}
		back, err := parseValue(fmt.Appendf(nil, "%d\n", v))
		if err != nil || back != v {
			t.Fatalf("%d comes back as %d, %v", v, back, err)
		}
		for cut := range len(text) {
			if v, err := parseValue([]byte(text[:cut])); err == nil {
				t.Fatalf("%q cut to %q is %d", text, text[:cut], v)
			}
		}
	})
}

func FuzzParseLimit(f *testing.F) {
	for _, seed := range []string{"max\n", "max", "ma\n", "67108864\n", "max\n1\n", "0\n", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parseLimit([]byte(text))
		plain, plainErr := parseValue([]byte(text))
		switch {
		case text == "max\n" && (v != Unlimited || err != nil):
			t.Fatalf("%q: %d, %v", text, v, err)
		case text != "max\n" && (v != plain || (err == nil) != (plainErr == nil)):
			t.Fatalf("%q: %d, %v; as a value %d, %v", text, v, err, plain, plainErr)
		}
		for cut := range len(text) {
			if err != nil {
				break // a cut may well mend it: "max\n1\n"
			}
			if v, err := parseLimit([]byte(text[:cut])); err == nil {
				t.Fatalf("%q cut to %q is %d", text, text[:cut], v)
			}
		}
	})
}

func FuzzParseKeyed(f *testing.F) {
	for _, seed := range []string{"a 1\nb 2\n", "b 2\na 1\n", "a 1\n", "a 1\nb", "a 1\na 2\n", "aa 1\n", "a  1\n", "\n\na 1\n", "x\ny z w\na 7\n", "a 18446744073709551615\n", "a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, b, err := keyedPair(text)
		if err != nil {
			return
		}
		lines := strings.Split(text, "\n")
		wantA, hasA := naiveKey(t, lines, "a")
		wantB, _ := naiveKey(t, lines, "b")
		if lines[len(lines)-1] != "" || !hasA || a != wantA || b != wantB {
			t.Fatalf("%q: a %d, b %d; want %d, %d", text, a, b, wantA, wantB)
		}
		for cut := range len(text) {
			cutA, cutB, err := keyedPair(text[:cut])
			if err == nil && (cutA != a || cutB != b && cutB != 0) {
				t.Fatalf("%q cut to %q: a %d, b %d; whole %d, %d", text, text[:cut], cutA, cutB, a, b)
			}
		}
	})
}

func keyedPair(text string) (a, b uint64, err error) {
	err = parseKeyed([]byte(text), []field{{key: "a", dst: &a}, {key: "b", dst: &b, optional: true}})
	return a, b, err
}

func naiveKey(t *testing.T, lines []string, key string) (uint64, bool) {
	t.Helper()
	for _, line := range lines {
		if value, ok := strings.CutPrefix(line, key+" "); ok {
			return naiveUint(t, value), true
		}
	}
	return 0, false
}

func FuzzParsePressure(f *testing.F) {
	const zero = " avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
	for _, seed := range []string{
		"some avg10=2.91 avg60=0.73 avg300=0.16 total=497802\nfull avg10=2.91 avg60=0.73 avg300=0.16 total=492342\n",
		"some" + zero, "full" + zero, "some" + zero + "full" + zero, "some", "some avg10=100.00 avg60=100.01 avg300=0.00 total=1\n",
		"some avg10=99.99 avg60=9.9 avg300=NaN total=-1\n", "some avg10=0.00 avg10=0.00 avg10=0.00 total=5\n", "",
		"some avg10=0.00 avg60=0.00 avg300=0.00 total=9223372036854775807\n", "idle" + zero + "some" + zero + "some\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePressure([]byte(text))
		if err != nil && p != (Pressure{}) {
			t.Fatalf("%q: %+v beside %v", text, p, err)
		}
		if err == nil && !strings.HasSuffix(text, "\n") {
			t.Fatalf("%q: %+v without a line end", text, p)
		}
		for _, s := range []Stall{p.Some, p.Full} {
			for _, avg := range []float64{s.Avg10, s.Avg60, s.Avg300} {
				if !(avg >= 0 && avg <= 1) { // so written, NaN counts as outside
					t.Fatalf("%q: average %v", text, avg)
				}
			}
			if s.Total < 0 || s.Total%time.Microsecond != 0 {
				t.Fatalf("%q: total %v", text, s.Total)
			}
		}
		if err != nil {
			return
		}
		back, err := parsePressure([]byte(pressureText(p)))
		if err != nil || back != p {
			t.Fatalf("%q: %+v comes back as %+v, %v", text, p, back, err)
		}
	})
}

// pressureText writes what the kernel would write.
func pressureText(p Pressure) string {
	line := func(kind string, s Stall) string {
		return fmt.Sprintf("%s avg10=%.2f avg60=%.2f avg300=%.2f total=%d\n", kind, 100*s.Avg10, 100*s.Avg60, 100*s.Avg300, s.Total/time.Microsecond)
	}
	text := line("some", p.Some)
	if p.HasFull {
		text += line("full", p.Full)
	}
	return text
}

func FuzzParseIOStat(f *testing.F) {
	const numbers = "rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n"
	for _, seed := range []string{
		"8:16 " + numbers + "8:0 " + numbers, "", "8:0\n", "8:0 \n8:16 " + numbers, "7:7 7:6 8:16 " + numbers, "8:16 ",
		"(unknown) " + numbers, "8:16 rbytes=\n", "8:16 rbytes=1 rbytes=2\n", "4294967296:0 " + numbers, "8:16 rbytes=1 8:0 wbytes=2\n",
		"8:0 cost.vrate=100.00 rios=3\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		io, err := parseIOStat([]byte(text), []DeviceIO{{Major: 1}, {Major: 2}})
		if err != nil {
			if len(io) > 0 {
				t.Fatalf("%q: %v beside %v", text, io, err)
			}
			return
		}
		if text != "" && !strings.HasSuffix(text, "\n") || len(io) > maxDevices {
			t.Fatalf("%q: accepted, %d devices", text, len(io))
		}
		for _, d := range io {
			for key, v := range map[string]uint64{"rbytes": d.ReadBytes, "wbytes": d.WriteBytes, "rios": d.Reads, "wios": d.Writes} {
				if v != 0 && !hasNumber(text, key+"=", v) {
					t.Fatalf("%q: %+v has a number that is not there", text, d)
				}
			}
		}
		back, err := parseIOStat([]byte(ioStatText(io)), nil)
		if diff := cmp.Diff(io, back); len(io) > 0 && (err != nil || diff != "") {
			t.Fatalf("%q: comes back as %v, %v", text, back, err)
		}
	})
}

// hasNumber finds the number behind the key, leading zeros or not.
func hasNumber(text, key string, v uint64) bool {
	for _, part := range strings.Split(text, key)[1:] {
		end := strings.IndexFunc(part, func(r rune) bool { return r < '0' || r > '9' })
		if got, err := strconv.ParseUint(part[:max(end, 0)], 10, 64); err == nil && got == v {
			return true
		}
	}
	return false
}

func ioStatText(io []DeviceIO) string {
	var b strings.Builder
	for _, d := range io {
		fmt.Fprintf(&b, "%d:%d rbytes=%d wbytes=%d rios=%d wios=%d dbytes=0 dios=0\n", d.Major, d.Minor, d.ReadBytes, d.WriteBytes, d.Reads, d.Writes)
	}
	return b.String()
}

func FuzzParseBlkio(f *testing.F) {
	for _, seed := range []string{
		"254:0 Read 13631488\n254:0 Write 54009856\n254:0 Sync 39854080\n254:0 Total 80748544\nTotal 80748544\n",
		"Total 0\n", "", "254:0 Read 1\n", "254:0 Read 1\nTotal", "(unknown) Read 1\nTotal 1\n", "8:0 Read\nTotal 0\n",
		"8:0 Read 1\n8:0 Read 2\nTotal 3\n", "8:16 Discard x\nTotal 0\n", "Total\n8:0 Write 5\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		before := []DeviceIO{{Major: 254, ReadBytes: 1, WriteBytes: 2, Reads: 3, Writes: 4}}
		io, err := parseBlkio([]byte(text), before, blkioBytes)
		if err != nil {
			return
		}
		if !strings.Contains(text, "Total") || !strings.HasSuffix(text, "\n") || len(io) > maxDevices {
			t.Fatalf("%q: accepted, %d devices", text, len(io))
		}
		for i, d := range io {
			checkBlkioDevice(t, text, d, io[:i])
		}
	})
}

// checkBlkioDevice: device 254:0 was there with operations before; others
// come with bytes alone, each once, and with numbers from the text.
func checkBlkioDevice(t *testing.T, text string, d DeviceIO, earlier []DeviceIO) {
	t.Helper()
	for _, e := range earlier {
		if e.Major == d.Major && e.Minor == d.Minor {
			t.Fatalf("%q: %d:%d comes twice", text, d.Major, d.Minor)
		}
	}
	known := len(earlier) == 0
	if known && (d.Reads != 3 || d.Writes != 4) || !known && (d.Reads != 0 || d.Writes != 0) {
		t.Fatalf("%q: bytes changed operations: %+v", text, d)
	}
	for op, v := range map[string]uint64{" Read ": d.ReadBytes, " Write ": d.WriteBytes} {
		if !known && v != 0 && !hasNumber(text, op, v) {
			t.Fatalf("%q: %+v has a number that is not there", text, d)
		}
	}
}

func FuzzParseV1Split(f *testing.F) {
	f.Add("user 24\nsystem 41\n", int64(650), int64(150))
	f.Add("user 0\nsystem 0\n", int64(650), int64(0))
	f.Add("user 18446744073709551615\nsystem 1\n", int64(math.MaxInt64), int64(3))
	f.Add("user 1\nsystem 4", int64(1), int64(900))
	f.Fuzz(func(t *testing.T, text string, usage, earlier int64) {
		if usage < 0 || earlier < 0 {
			return // no clock runs backwards from zero
		}
		user := time.Duration(earlier) / 3
		before := CPU{Usage: time.Duration(usage), User: user, System: time.Duration(earlier) - user}
		s := Sample{CPU: before}
		if err := parseV1Split([]byte(text), &s); err != nil {
			if s.CPU != before {
				t.Fatalf("%q changed %+v to %+v beside %v", text, before, s.CPU, err)
			}
			return
		}
		c := s.CPU
		if c.User+c.System != c.Usage || c.User < before.User || c.System < before.System || c.Usage < before.Usage {
			t.Fatalf("%q: %+v after %+v", text, c, before)
		}
	})
}
