package machine

import (
	"fmt"
	"strings"
)

// Kernel is one row of the kernel table.
type Kernel struct {
	// Name is what -kernel takes: the upstream series.
	Name string
	// Package is the exact Debian package that holds the image. Debian puts the ABI number into the name, so the
	// name is the pin.
	Package string
	// Release is the Debian release that has Package. Empty means that the host's own sources have it.
	Release string
}

// Kernels returns the kernel table. The cloud flavour is the stock kernel with fewer drivers; NVMe, ext4 and the
// serial console are built in, so that a guest needs no modules to come up. What Docker needs, it has as modules.
func Kernels() []Kernel {
	return []Kernel{
		{Name: "6.1", Package: "linux-image-6.1.0-50-cloud-amd64"},
		{Name: "6.12", Package: "linux-image-6.12.117+deb12-cloud-amd64"},
		{Name: "5.10", Package: "linux-image-5.10.0-32-cloud-amd64", Release: "bullseye"},
	}
}

// FindKernel returns the row called name.
func FindKernel(name string) (Kernel, error) {
	var known []string
	for _, k := range Kernels() {
		if k.Name == name {
			return k, nil
		}
		known = append(known, k.Name)
	}
	return Kernel{}, fmt.Errorf("find kernel %q: not in the table (have %s)", name, strings.Join(known, ", "))
}
