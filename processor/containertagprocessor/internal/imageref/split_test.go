package imageref_test

import (
	"strings"
	"testing"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/imageref"
)

func TestSplit(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0f", 32)
	for ref, want := range map[string][2]string{
		"nginx":                              {"nginx", ""},
		"nginx:1.25":                         {"nginx", "1.25"},
		"registry:5000/team/app:1.2":         {"registry:5000/team/app", "1.2"},
		"registry:5000/team/app":             {"registry:5000/team/app", ""},
		"nginx:1.25" + digest:                {"nginx", "1.25"},
		"nginx" + digest:                     {"nginx", ""},
		digest[1:]:                           {"", ""},
		"":                                   {"", ""},
		"NGINX":                              {"", ""},
		strings.Repeat("a/", 600) + "b:tag":  {"", ""},
		"nginx:" + strings.Repeat("1", 2000): {"", ""},
	} {
		if name, tag := imageref.Split(ref); name != want[0] || tag != want[1] {
			t.Errorf("%.80q: %q %q, want %q", ref, name, tag, want)
		}
	}
}
