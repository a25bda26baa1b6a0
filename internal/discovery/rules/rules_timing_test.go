package rules_test

import (
	"fmt"
	"testing"

	"github.com/tallymanhq/tallyman/internal/discovery/rules"
)

// Each of the rules is tried on four environments: three ports and the container.
func BenchmarkEvaluate(b *testing.B) {
	f := func(name string, count int, rule string) {
		var configs []rules.Config
		for i := range count {
			configs = append(configs, rules.Config{
				Name: fmt.Sprint(i), Rule: rule, Receiver: "x", Config: map[string]any{"endpoint": "http://`endpoint`/status"},
			})
		}
		set, err := rules.Compile(configs)
		if err != nil {
			b.Fatal(err)
		}
		one := web()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				set.Evaluate(one)
			}
		})
	}
	f("20-rules-none-fits", 20, `type == "container" && port == 5432 && technology == "postgresql"`)
	f("20-rules-all-fit", 20, `type == "container" && port == 6379`)
	f("20-rules-pattern", 20, `name matches "^db-[0-9]+$"`)
}
