package machine

import (
	"os"
	"path/filepath"
)

// CacheFolder is where kernels and disk images are kept between runs of the repository at root.
func CacheFolder(root string) string {
	if dir := os.Getenv("TALLYMAN_VM_CACHE"); dir != "" {
		return dir
	}
	return filepath.Join(root, ".cache", "vm")
}
