package runner

import (
	"net/netip"
	"os"
	"testing"
)

// A pass over a thousand descriptors, one in ten of which is a socket.
func BenchmarkHangUp(b *testing.B) {
	for n := range 1000 {
		if n%10 == 0 {
			dialed(b, "127.0.0.1:0") // two descriptors
			continue
		}
		file, err := os.Open("/dev/null")
		if err != nil {
			b.Fatal(err)
		}
		defer file.Close()
	}
	gone := map[netip.AddrPort]bool{netip.MustParseAddrPort("192.0.2.1:80"): true}
	b.ReportAllocs()
	for b.Loop() {
		if hangUp(gone) != 0 {
			b.Fatal("somebody is there")
		}
	}
}
