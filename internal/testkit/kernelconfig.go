package testkit

import (
	"bufio"
	"compress/gzip"
	"os"
	"strings"
	"testing"
)

// NeedBuilt skips the test where this kernel was built without an option, such as
// "CONFIG_NET_SCH_NETEM". Nothing on the host can change that, so it never fails:
// the kernels of test/vm have it. A kernel that does not tell how it was built is
// taken to have it.
func NeedBuilt(t testing.TB, option string) {
	t.Helper()
	if isUnset("/proc/config.gz", option) {
		t.Skipf("needs a kernel with %s, this one was built without (those of test/vm have it)", option)
	}
}

// isUnset tells whether a kernel's configuration says that an option is not set.
func isUnset(path, option string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return false
	}
	lines := bufio.NewScanner(unzipped)
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == "# "+option+" is not set" {
			return true
		}
	}
	return false
}
