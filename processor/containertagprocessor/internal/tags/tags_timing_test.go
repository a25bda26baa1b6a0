package tags_test

import (
	"testing"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

func BenchmarkContainer(b *testing.B) {
	f := func(name string, fixture fixture) {
		b.Run(name, func(b *testing.B) {
			c := compile(b, fixture.options)
			b.ReportAllocs()
			for b.Loop() {
				c.Container(fixture.con, fixture.pod)
			}
		})
	}
	f("compose", fixture{con: compose()})
	f("k8s", fixture{con: containerd(), pod: pod()})
	f("compose_all_labels", fixture{con: compose(), options: tags.Options{Labels: tags.Rules{Allow: []string{"*"}}}})
}
