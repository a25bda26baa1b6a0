package policy

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// BenchmarkIdentify is what a new connection costs beyond accept, all system
// calls included; the goal is 0.25 ms.
//
//	go test -run '^$' -bench Identify ./extension/dockerfilterextension/internal/policy
func BenchmarkIdentify(b *testing.B) {
	engine := testkit.Docker(b)
	inContainer, onHost := newRig(b), newRig(b)
	engine.RunContainer(b, inContainer.spec("connect"))
	onHost.start(b, "connect", nil)
	container, host := inContainer.accept(b), onHost.accept(b)
	for _, without := range []bool{false, true} {
		i := NewIdentifier()
		i.withoutPidfd = without
		way := map[bool]string{false: "pidfd", true: "start_time"}[without]
		b.Run("container/"+way, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				require.Equal(b, KindContainer, i.Identify(container).Kind)
			}
		})
		b.Run("host/"+way, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				require.Equal(b, KindHost, i.Identify(host).Kind)
			}
		})
	}
}
