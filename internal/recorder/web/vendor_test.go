package web_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const vendored = "static/vendor"

// TestVendor compares every vendored file with its checksum: nobody edits them
// by hand, and none is without a sum.
func TestVendor(t *testing.T) {
	sums := readSums(t)
	entries, err := os.ReadDir(vendored)
	require.NoError(t, err)
	for _, entry := range entries {
		if entry.Name() == "SHA256SUMS" || entry.Name() == "README.md" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(vendored, entry.Name()))
		require.NoError(t, err)
		sum := sha256.Sum256(text)
		if got := hex.EncodeToString(sum[:]); got != sums[entry.Name()] {
			t.Errorf("%s has the sum %s, SHA256SUMS says %q", entry.Name(), got, sums[entry.Name()])
		}
		delete(sums, entry.Name())
	}
	for name := range sums {
		t.Errorf("SHA256SUMS has %s, which is not there", name)
	}
}

// TestVendorLicences asks for a licence text with each of the three works.
func TestVendorLicences(t *testing.T) {
	for name, want := range map[string]string{
		"LICENSE.uPlot":  "Leon Sorokin",
		"LICENSE.htm":    "Apache License",
		"LICENSE.preact": "Jason Miller",
	} {
		text, err := os.ReadFile(filepath.Join(vendored, name))
		require.NoError(t, err)
		if !strings.Contains(string(text), want) {
			t.Errorf("%s does not mention %s", name, want)
		}
	}
}

// TestModules runs the tests of the pure functions.
func TestModules(t *testing.T) {
	testkit.NeedCommand(t, "node")
	files, err := filepath.Glob("test/*.test.mjs")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	out, err := exec.Command("node", append([]string{"--test"}, files...)...).CombinedOutput()
	if err != nil {
		t.Errorf("node --test: %v\n%s", err, tail(out, 4000))
	}
}

func readSums(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(vendored, "SHA256SUMS"))
	require.NoError(t, err)
	sums := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		sum, name, found := strings.Cut(lines.Text(), "  ")
		require.True(t, found, "line %q", lines.Text())
		sums[name] = sum
	}
	require.NoError(t, lines.Err())
	return sums
}

func tail(text []byte, n int) []byte { return text[max(0, len(text)-n):] }
