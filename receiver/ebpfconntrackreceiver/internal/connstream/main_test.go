package connstream_test

import (
	"os"
	"testing"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestMain(m *testing.M) {
	if os.Getenv(loadEnv) != "" {
		makeLoad()
		return
	}
	testkit.Main(m)
}
