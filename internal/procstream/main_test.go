package procstream_test

import (
	"os"
	"testing"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestMain(m *testing.M) {
	if os.Getenv(outliveEnv) != "" {
		outlive()
	}
	testkit.Main(m)
}
