package policy

import "testing"

// BenchmarkRequest is one request counted, with a full table.
//
//	go test -run '^$' -bench Request ./extension/dockerfilterextension/internal/policy
func BenchmarkRequest(b *testing.B) {
	p, _ := newQuotaPolicy(b, LimitsConfig{RPS: 1e9, Burst: 1e9, Streams: 1})
	for n := range maxQuotas {
		p.Client(Identity{Kind: KindHost, UID: uint32(n)}).Request()
	}
	c := p.Client(Identity{Kind: KindHost, UID: 7})
	b.ReportAllocs()
	for b.Loop() {
		if !c.Request().Allow {
			b.Fatal("refused")
		}
	}
}
