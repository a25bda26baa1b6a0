package store_test

import (
	"fmt"
	"testing"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
)

// BenchmarkRevive is a container that dies and is told of again while as many
// others are dead as are kept: it leaves the queue from its end, where a search
// would take longest.
func BenchmarkRevive(b *testing.B) {
	for _, dead := range []int{1, 2000} {
		b.Run(fmt.Sprintf("dead=%d", dead), func(b *testing.B) {
			s := store.New(store.Options{Containers: []string{"best"}}, func(string, string) {})
			for i := range dead {
				s.PutContainer("best", named(fmt.Sprint(i), "web"))
				s.ContainerGone("best", fmt.Sprint(i))
			}
			last := named(fmt.Sprint(dead-1), "web")
			b.ReportAllocs()
			for b.Loop() {
				s.PutContainer("best", last)
				s.ContainerGone("best", last.ID)
			}
		})
	}
}
