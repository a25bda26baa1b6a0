package statictags

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/sinktest"
)

// However often a bad version is looked at, it is told once.
func TestToldOnce(t *testing.T) {
	sink := new(sinktest.Recorder)
	file := filepath.Join(t.TempDir(), "tags.yaml")
	teller := &teller{options: Options{File: file}, sink: sink}
	f := func(content string, downs int) {
		t.Helper()
		if content != "" {
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			teller.load(nil)
		}
		if have := sink.Count("down host_tags"); have != downs {
			t.Errorf("%q: down %d times, want %d: %v", content, have, downs, sink.Downs())
		}
	}
	f("", 1) // not there
	f("- role\n", 2)
	f("- roles\n", 3)
	f("role: a\n", 3)
	f("- roles\n", 4)
	if have := sink.Host()["role"]; have != "a" {
		t.Errorf("role is %q", have)
	}
}
