package metricstore_test

import (
	"os"
	"testing"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		os.Exit(child(dir))
	}
	if os.Getenv(brokenEnv) != "" {
		os.Exit(m.Run())
	}
	testkit.Main(m)
}
