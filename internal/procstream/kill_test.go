package procstream

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseKillPending(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		got, err := parseKillPending([]byte(text))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	f("Name:\tsh\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\nSigBlk:\t0000000000000100\n", false)
	f("SigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n", true)
	f("SigPnd:\t0000000000000000\nShdPnd:\t0000000000004100\n", true)
	f("", false)
	_, err := parseKillPending([]byte("SigPnd:\tx\n"))
	require.ErrorIs(t, err, ErrMalformed)
}

func FuzzParseKillPending(f *testing.F) {
	f.Add([]byte("SigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n"))
	f.Add([]byte("Name:\tSigPnd:\nSigPnd:\tzz\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		pending, err := parseKillPending(b)
		if pending && (err != nil || !bytes.Contains(b, []byte("Pnd:"))) {
			t.Fatalf("pending from %q, error %v", b, err)
		}
	})
}
