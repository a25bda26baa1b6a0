package flightrecorderextension

import (
	"os"
	"path/filepath"
	"strings"
)

// longestHostName is the limit of gethostname(2) and of DNS.
const longestHostName = 253

// hostName is what the host below the root is called, "" if that is not known. In a
// container the kernel tells the container's own name, so its file is asked first there.
func hostName(root string) string {
	if root != "" && root != "/" {
		text, err := os.ReadFile(filepath.Join(root, "etc", "hostname"))
		if name := strings.TrimSpace(string(text)); err == nil && name != "" && len(name) <= longestHostName {
			return name
		}
	}
	name, err := os.Hostname()
	if err != nil {
		return "" // pages do without
	}
	return name
}
