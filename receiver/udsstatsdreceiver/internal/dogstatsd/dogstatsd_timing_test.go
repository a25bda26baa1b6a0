package dogstatsd_test

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

// message returns a line of 138 bytes with 6 tags and the newline behind it.
func message(typ string) string {
	const line = "checkout.duration:213.25|TYPE|#env:production,service:checkout-api,version:1.42.7,region:eu-west-1a,endpoint:/cart,method:POST"
	text := strings.Replace(line, "TYPE", typ, 1)
	return text + strings.Repeat("x", 138-1-len(text)) + "\n"
}

// BenchmarkParse is what one message of 138 bytes with 6 tags costs, alone in
// its packet and among 55:
//
//	go test -run '^$' -bench Parse ./receiver/udsstatsdreceiver/internal/dogstatsd
//
// Plain is the load of all comparisons, rate has a sample rate too, exponent a
// value for strconv, and client what a client of protocol 1.6 adds.
func BenchmarkParse(b *testing.B) {
	for _, load := range []struct{ name, line string }{
		{"plain", message("c")},
		{"rate", message("h|@0.25")},
		{"exponent", strings.Replace(message("h"), "213.25", "2.1e-5", 1)},
		{"client", strings.TrimSuffix(message("g"), "\n") + "|c:ci-83c0a99c0a54,in-4026531835|e:it-false,cn-api,pu-810fe89d|card:low\n"},
		{"event", "_e{5,9}:title|some text|#env:production,service:checkout-api\n"},
		{"check", "_sc|db.up|0|#env:production,service:checkout-api|m:all is well\n"},
	} {
		for _, count := range []int{1, 55} {
			b.Run(load.name+"/"+strconv.Itoa(count), func(b *testing.B) {
				packet := []byte(strings.Repeat(load.line, count))
				b.ReportAllocs()
				b.SetBytes(int64(len(load.line)))
				var p dogstatsd.Parser
				sum, lines := 0.0, 0
				for range (b.N + count - 1) / count {
					for kind := range p.Lines(packet, false) {
						lines++
						if kind == dogstatsd.KindMetric {
							sum += p.Sample().Values[0]
						}
					}
				}
				require.GreaterOrEqual(b, lines, b.N)
				require.True(b, p.Counts.Empty())
				require.GreaterOrEqual(b, sum, 0.0)
			})
		}
	}
}

// BenchmarkFrames is what the framing of one message costs.
func BenchmarkFrames(b *testing.B) {
	stream := strings.Repeat(frame(message("c")), 1000)
	r := strings.NewReader("")
	frames := dogstatsd.NewFrames(repeat{r, stream}, new(dogstatsd.Counts))
	b.ReportAllocs()
	b.SetBytes(int64(len(stream) / 1000))
	for b.Loop() {
		if _, err := frames.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

// repeat reads a text again and again.
type repeat struct {
	*strings.Reader
	text string
}

func (r repeat) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err == io.EOF {
		r.Reset(r.text)
		return r.Reader.Read(b)
	}
	return n, err
}

// No kind of line allocates, not even a rejected one.
func TestAllocations(t *testing.T) {
	var p dogstatsd.Parser
	var total dogstatsd.Counts
	for _, row := range vectors(t, "dogstatsd-lines.tsv") {
		if row[0] == "V09" || row[0] == "V19" || row[0] == "R14" {
			continue // strconv makes an error: see the package comment
		}
		packet := []byte(unquoted(t, row[1]))
		allocs := testing.AllocsPerRun(50, func() {
			for range p.Lines(packet, false) {
				walk(&p)
			}
			p.Counts.MoveTo(&total)
		})
		require.Zero(t, allocs, "%s %s", row[0], row[1])
	}
	require.False(t, total.Empty())

	packet := []byte(strings.Repeat(message("c"), 55) + "a:1:2:3:4:5:6:7:8|h\n")
	require.Zero(t, testing.AllocsPerRun(50, func() {
		for range p.Lines(packet, false) {
			walk(&p)
		}
	}))
	frames := dogstatsd.NewFrames(repeat{strings.NewReader(""), frame(string(packet))}, &total)
	require.Zero(t, testing.AllocsPerRun(50, func() {
		got, err := frames.Next()
		if err != nil || !bytes.Equal(got, packet) {
			t.Fatal(err)
		}
	}))
}

// walk looks at what a context's first sight looks at.
func walk(p *dogstatsd.Parser) {
	n := 0
	for tag := range dogstatsd.Tags(p.Sample().Tags) {
		n += len(tag.Key)
	}
	_, _ = dogstatsd.ParseLocalData(p.Sample().LocalData)
	_, _ = dogstatsd.ParseExternalData(p.Sample().ExternalData)
	_, _ = dogstatsd.ParseCardinality(p.Sample().Cardinality)
}
