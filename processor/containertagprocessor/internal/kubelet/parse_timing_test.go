package kubelet

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// node is the answer of a kubelet with 110 pods, its usual limit, each like
// the first one of the fixture.
func node(tb testing.TB) []byte {
	tb.Helper()
	text, err := os.ReadFile("testdata/pods.json")
	require.NoError(tb, err)
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	require.NoError(tb, json.Unmarshal(text, &list))
	var items [][]byte
	for i := range 110 {
		items = append(items, bytes.ReplaceAll(list.Items[0], []byte("8f14e45f"), fmt.Appendf(nil, "%08x", i)))
	}
	return fmt.Appendf(nil, `{"kind":"PodList","items":[%s]}`, bytes.Join(items, []byte(",")))
}

// BenchmarkChanged is one answer that has to be decoded; BenchmarkUnchanged one
// that is the same as before.
func BenchmarkChanged(b *testing.B) {
	text := node(b)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		all, err := parsePods(text)
		if err != nil || len(all.whole) != 110 || len(all.broken) != 0 {
			b.Fatalf("%d pods, %d broken, %v", len(all.whole), len(all.broken), err)
		}
	}
}

func BenchmarkUnchanged(b *testing.B) {
	text := node(b)
	last := sha256.Sum256(text)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if sha256.Sum256(text) != last {
			b.Fatal("the same text has another hash")
		}
	}
}
