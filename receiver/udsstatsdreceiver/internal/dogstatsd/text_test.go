package dogstatsd_test

import (
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

func TestClean(t *testing.T) {
	f := func(text, want, wantText string) {
		t.Helper()
		got, changed := dogstatsd.Clean([]byte(text))
		require.Equal(t, want, got)
		require.Equal(t, want != text, changed)
		got, changed = dogstatsd.CleanText([]byte(text))
		require.Equal(t, wantText, got)
		require.Equal(t, wantText != text, changed)
	}
	f("", "", "")
	f("métr♬", "métr♬", "métr♬")
	f("a\x00b", "a\uFFFDb", "a\uFFFDb")
	f("\xff", "\uFFFD", "\uFFFD")
	f("\xff\x01\xfea\x7f", "\uFFFDa\uFFFD", "\uFFFDa\uFFFD")
	f("a\u0085b", "a\uFFFDb", "a\uFFFDb") // a control character of two bytes
	f("\uFFFD", "\uFFFD", "\uFFFD")       // sent as such, and valid
	f("a\nb\tc\r", "a\uFFFDb\uFFFDc\uFFFD", "a\nb\tc\r")
	f("\xed\xa0\x80", "\uFFFD", "\uFFFD") // a surrogate
}

func TestCleanAllocations(t *testing.T) {
	text := []byte("a name that is longer than what fits on the stack of a caller")
	require.LessOrEqual(t, testing.AllocsPerRun(50, func() { _, _ = dogstatsd.Clean(text) }), 1.0)
}

func TestTags(t *testing.T) {
	f := func(raw, want string) {
		t.Helper()
		require.Equal(t, want, renderTags([]byte(raw)), raw)
	}
	f("", "")
	f(",,", "")
	f("a,b:c,d:e:f,", " #a= #b=c #d=e:f")
	f(":v,:", " #:v= #:=")
	f("host,hosts:x,host:,Host:x", " #host= #hosts=x host host= #Host=x")
	f("dd.internal.card:low,dd.internal.entity_id", " card dd.internal.card=low #dd.internal.entity_id=")

	for range dogstatsd.Tags([]byte("a,b")) {
		break // the iterator has to stop, or the runtime panics
	}
}

func TestOriginFields(t *testing.T) {
	f := func(local, want string) {
		t.Helper()
		require.Equal(t, want, renderSender([]byte(local), nil, nil), local)
	}
	f("ci-", " c( 0 true)")
	f("in-42,ci-abc", " c(abc 42 true)")
	f("ci-abc,in-x", " c(abc 0 false)")
	f("in-+5", " c( 0 false)")
	f("in-18446744073709551615", " c( 18446744073709551615 true)")
	f("ci-a,ci-b", " c(b 0 true)")
	f("cia-b", " c(cia-b 0 true)")

	f = func(external, want string) {
		t.Helper()
		require.Equal(t, want, renderSender(nil, []byte(external), nil), external)
	}
	f("pu-p,it-false,cn-c", " e(false c p true)")
	f("it-true", " e(true   true)")
	f("it-1,cn-c", " e(false c  false)")
	f("cn-c,zz-z", " e(false c  false)")

	f = func(card, want string) {
		t.Helper()
		require.Equal(t, want, renderSender(nil, nil, []byte(card)), card)
	}
	f("", " card(default true)")
	f("Orchestrator", " card(orchestrator true)")
	f("default", " card(default false)")
}

// A deadline ends nothing: what has arrived of a frame is still there.
func TestFramesDeadline(t *testing.T) {
	var counts dogstatsd.Counts
	whole := frame("a:1|c")
	frames := dogstatsd.NewFrames(io.MultiReader(
		strings.NewReader(whole[:5]), &once{err: os.ErrDeadlineExceeded}, strings.NewReader(whole[5:])), &counts)
	_, err := frames.Next()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Equal(t, 5, frames.Pending())
	packet, err := frames.Next()
	require.NoError(t, err)
	require.Equal(t, "a:1|c", string(packet))
	require.Zero(t, frames.Pending())
	require.True(t, counts.Empty())
}

// Any other error is final, and costs the frame that it breaks.
func TestFramesError(t *testing.T) {
	f := func(sent string, wantCounts []string) {
		t.Helper()
		var counts dogstatsd.Counts
		r := io.MultiReader(strings.NewReader(sent), iotest.ErrReader(os.ErrPermission))
		frames := dogstatsd.NewFrames(r, &counts)
		for range 2 {
			_, err := frames.Next()
			require.ErrorIs(t, err, os.ErrPermission)
			require.Equal(t, wantCounts, renderCounts(&counts))
		}
	}
	f("", nil)
	f("\x05\x00", []string{"!frame_partial 1"})

	_, err := dogstatsd.NewFrames(idle{}, new(dogstatsd.Counts)).Next()
	require.ErrorIs(t, err, io.ErrNoProgress)
}

// once is a reader that has nothing but, the first time, an error.
type once struct{ err error }

func (o *once) Read([]byte) (int, error) {
	err := o.err
	o.err = io.EOF
	return 0, err
}

// idle is a reader against the rules: neither bytes nor an error.
type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }
