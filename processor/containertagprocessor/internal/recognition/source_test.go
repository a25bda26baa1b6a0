package recognition_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/discovery/findings"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/recognition"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/sinktest"
)

func technologies(names ...string) []target.Technology {
	var all []target.Technology
	for _, name := range names {
		all = append(all, target.Technology{Name: name, Confidence: target.Likely, By: "image " + name})
	}
	return all
}

// What is on the board is told, the surest of each container; and each change.
func TestSource(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	board, sink := findings.New(), &sinktest.Recorder{}
	board.Put("before", technologies("redis", "python"))
	board.Put("nothing", nil)
	stop := sinktest.Run(t, recognition.New(board), sink)
	sink.Await(t, "up recognition", 1)
	require.Equal(t, &entity.Technology{Name: "redis", Confidence: "likely", SeenBy: "image redis"}, sink.Technology("before"))
	require.Equal(t, 1, sink.Count("technology recognition nothing"))
	require.Nil(t, sink.Technology("nothing"))

	board.Put("before", technologies("valkey"))
	require.Equal(t, "valkey", sink.Technology("before").Name)
	board.Put("before", nil)
	require.Nil(t, sink.Technology("before"))
	require.Zero(t, sink.Count("gone recognition before"))
	board.Remove("before")
	require.Equal(t, 1, sink.Count("gone recognition before"))

	stop()
	calls := len(sink.Calls())
	board.Put("after", technologies("nginx"))
	require.Len(t, sink.Calls(), calls)
}

// Two processors at one board, and a board that is written on from everywhere.
func TestManySources(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	board := findings.New()
	sinks := []*sinktest.Recorder{{}, {}}
	var stops []func()
	for _, sink := range sinks {
		stops = append(stops, sinktest.Run(t, recognition.New(board), sink))
		sink.Await(t, "up recognition", 1)
	}
	var writers sync.WaitGroup
	for n := range 4 {
		writers.Go(func() {
			for round := range 50 {
				board.Put(fmt.Sprint(n), technologies(fmt.Sprint("technology ", round)))
			}
		})
	}
	writers.Wait()
	for _, sink := range sinks {
		for n := range 4 {
			require.Equal(t, "technology 49", sink.Technology(fmt.Sprint(n)).Name)
		}
	}
	for _, stop := range stops {
		stop()
	}
}
