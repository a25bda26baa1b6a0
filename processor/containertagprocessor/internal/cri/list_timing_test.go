package cri_test

import (
	"fmt"
	"testing"

	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/cri"
)

// BenchmarkNode connects to a runtime with 110 pods of one container each and
// waits until all are told: two listings, 220 status calls for sandboxes and
// containers, one for the image they share.
func BenchmarkNode(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		f := newFake(b)
		for i := range 110 {
			id := fmt.Sprint("c", i)
			f.add(fmt.Sprint("s", i), id)
			f.statuses[id] = &runtimev1.ContainerStatusResponse{Status: &runtimev1.ContainerStatus{Id: id}}
		}
		f.start(b)
		b.StartTimer()
		_, sink := run(b, cri.Options{Endpoint: f.endpoint(), Interval: never})
		sink.Await(b, "up containerd", 1)
		b.StopTimer()
		if n := f.called("ContainerStatus"); n != 110 {
			b.Fatalf("%d status calls", n)
		}
		f.stop()
		b.StartTimer()
	}
}
