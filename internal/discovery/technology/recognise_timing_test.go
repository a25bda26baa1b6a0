package technology_test

import (
	"fmt"
	"testing"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/discovery/technology"
)

func BenchmarkRecognise(b *testing.B) {
	java := technology.Facts{Image: "confluentinc/cp-kafka", Listening: []target.Listener{at(9092, 1, "java"), at(40001, 1, "java")}}
	words := []string{"java"}
	for i := range 60 {
		words = append(words, fmt.Sprintf("-Dsome.option.number%d=/opt/kafka/%d", i, i))
	}
	java.Processes = []technology.Process{process(1, "java", append(words, "kafka.Kafka")...)}

	postgres := technology.Facts{Image: "postgres", Listening: []target.Listener{at(5432, 1, "postgres")}}
	for pid := range 200 {
		postgres.Processes = append(postgres.Processes, process(pid+1, "postgres", "postgres: app app 10.0.0.1(1) idle"))
	}
	for name, facts := range map[string]technology.Facts{
		"nothing": {Processes: []technology.Process{process(1, "sleep", "sleep", "9")}},
		"redis": {Image: "redis", Processes: []technology.Process{process(1, "redis-server", "redis-server *:6379")},
			Listening: []target.Listener{at(6379, 1, "redis-server")}},
		"kafka":             java,
		"postgres-200-idle": postgres,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				technology.Recognise(facts)
			}
		})
	}
}
