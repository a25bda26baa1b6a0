package dogstatsd_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

// packetVectors says what becomes of the rows of dogstatsd-packets.tsv whose
// input is a packet as it stands there.
var packetVectors = map[string][]string{
	"F01": {`c "a" [1]`, `g "b" [2]`},
	"F03": {`c "a" [1]`, `g "b" [2]`},
	"F04": {`c "a" [1]`},
	"F05": {`c "a" [1]`, `g "b" [2]`},
	"F06": {`c "a" [1]`},
	"F07": rejected("unknown_type"),
	"F08": nil,
	"F09": nil,
	"F10": {
		"reject no_value", `c "good" [1]`, "reject event_no_title", `check "up" ok`,
		"!no_value 1", "!event_no_title 1",
	},
	"F11": {"reject event_length", "reject no_value", "!no_value 1", "!event_length 1"},
}

// describedVectors has a test for each row whose input is a description.
func describedVectors() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"F13": testUnterminated,
		"F15": testTruncated,
		"F18": testTwoFrames,
		"F19": testSplitFrame,
		"F20": testLongFrame,
		"F21": testHalfFrame,
		"F22": testEmptyFrame,
		"F24": testMergedPackets,
	}
}

func TestPacketVectors(t *testing.T) {
	described := describedVectors()
	seen := 0
	for _, row := range vectors(t, "dogstatsd-packets.tsv") {
		t.Run(row[0], func(t *testing.T) {
			seen++
			if test := described[row[0]]; test != nil {
				test(t)
				return
			}
			want, ok := packetVectors[row[0]]
			require.True(t, ok, "no expectation")
			quoted, err := strconv.QuotedPrefix(row[1])
			require.NoError(t, err)
			packet, err := strconv.Unquote(quoted)
			require.NoError(t, err)
			got := read(new(dogstatsd.Parser), packet, false)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q: (-want +got):\n%s", packet, diff)
			}
		})
	}
	require.Equal(t, len(packetVectors)+len(described), seen, "expectations without a row")
}

func testUnterminated(t *testing.T) {
	f := func(packet string, want ...string) {
		t.Helper()
		got := read(&dogstatsd.Parser{RequireNewline: true}, packet, false)
		require.Equal(t, want, got, packet)
	}
	f("a:1|c\nb:2|g", `c "a" [1]`, "!unterminated 1")
	f("a:1|c\nb:2|g\n", `c "a" [1]`, `g "b" [2]`)
	f("a:1|c", "!unterminated 1")
}

func testTruncated(t *testing.T) {
	f := func(packet string, want ...string) {
		t.Helper()
		require.Equal(t, want, read(new(dogstatsd.Parser), packet, true), packet)
		want[len(want)-1] = "!truncated 1"
		require.Equal(t, want, read(&dogstatsd.Parser{RequireNewline: true}, packet, true), packet)
	}
	f("a:1|c\nb:2|c|@0.1", `c "a" [1]`, "!truncated 1")
	f("a:1|c\n", `c "a" [1]`, "!truncated 1")
	f("a:1|c", "!truncated 1")
	f("", "!truncated 1")
}

func testTwoFrames(t *testing.T) {
	got, counts, err := packets(strings.NewReader(frame("a:1|c\n") + frame("b:2|g")))
	require.Equal(t, io.EOF, err)
	require.Equal(t, []string{"a:1|c\n", "b:2|g"}, got)
	require.True(t, counts.Empty())
}

func testSplitFrame(t *testing.T) {
	long := strings.Repeat("x", dogstatsd.MaxFrame)
	stream := frame("a:1|c") + frame(long) + frame("b")
	for name, r := range map[string]io.Reader{
		"byte":  iotest.OneByteReader(strings.NewReader(stream)),
		"half":  iotest.HalfReader(strings.NewReader(stream)),
		"whole": strings.NewReader(stream),
		"eof":   iotest.DataErrReader(strings.NewReader(stream)),
	} {
		got, counts, err := packets(r)
		require.Equal(t, io.EOF, err, name)
		require.Equal(t, []string{"a:1|c", long, "b"}, got, name)
		require.True(t, counts.Empty(), name)
	}
}

func testLongFrame(t *testing.T) {
	for _, size := range []uint32{dogstatsd.MaxFrame + 1, 0xFFFFFFFF} {
		header := binary.LittleEndian.AppendUint32(nil, size)
		got, counts, err := packets(io.MultiReader(strings.NewReader(frame("a")), bytes.NewReader(header), endless{}))
		require.ErrorIs(t, err, dogstatsd.ErrFrameTooLong)
		require.Equal(t, []string{"a"}, got)
		require.Equal(t, []string{"!frame_too_long 1"}, renderCounts(counts))
	}
	// Where the Datadog Agent closes the connection, we do not.
	for _, size := range []int{8192, 8193} {
		got, counts, err := packets(strings.NewReader(frame(strings.Repeat("x", size))))
		require.Equal(t, io.EOF, err)
		require.Len(t, got, 1)
		require.Len(t, got[0], size)
		require.True(t, counts.Empty())
	}
}

func testHalfFrame(t *testing.T) {
	whole := frame("a:1|c")
	for n := 1; n < len(whole); n++ {
		got, counts, err := packets(strings.NewReader(whole + whole[:n]))
		require.Equal(t, io.ErrUnexpectedEOF, err)
		require.Equal(t, []string{"a:1|c"}, got)
		require.Equal(t, []string{"!frame_partial 1"}, renderCounts(counts))
	}
}

func testEmptyFrame(t *testing.T) {
	got, counts, err := packets(strings.NewReader(frame("a") + frame("") + frame("b")))
	require.ErrorIs(t, err, dogstatsd.ErrFrameEmpty)
	require.Equal(t, []string{"a"}, got)
	require.Equal(t, []string{"!frame_empty 1"}, renderCounts(counts))
}

// A transport that merges small datagrams with newlines loses nothing.
func testMergedPackets(t *testing.T) {
	parts := []string{"a:1|c", "bad", "b:2|g|#x:y\n", "_sc|up|0"}
	var apart dogstatsd.Parser
	var want []string
	for _, part := range parts {
		for _, line := range read(&apart, part, false) {
			if !strings.HasPrefix(line, "!") {
				want = append(want, line)
			}
		}
	}
	want = append(want, renderCounts(&apart.Counts)...)
	require.Equal(t, want, read(new(dogstatsd.Parser), strings.Join(parts, "\n"), false))
}

func frame(packet string) string {
	return string(binary.LittleEndian.AppendUint32(nil, uint32(len(packet)))) + packet
}

// packets reads a stream to its end.
func packets(r io.Reader) (got []string, counts *dogstatsd.Counts, err error) {
	counts = new(dogstatsd.Counts)
	frames := dogstatsd.NewFrames(r, counts)
	for {
		packet, err := frames.Next()
		if err != nil {
			return got, counts, err
		}
		got = append(got, string(packet))
	}
}

// endless is a peer that never stops.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
