package main

import (
	"fmt"
	"strings"
)

// kernel is one row of the kernel table.
type kernel struct {
	// Name is what -kernel takes: the upstream series.
	Name string
	// Package is the exact Debian package that holds the image. Debian puts the ABI number into the name, so the
	// name is the pin.
	Package string
	// Release is the Debian release that has Package. Empty means that the host's own sources have it.
	Release string
}

// suite is one row of the suite table.
type suite struct {
	// Name is what -suite takes.
	Name string
	// Packages are repository-relative package folders whose test binaries run, in this order.
	Packages []string
	// Modules are kernel modules to insert before the tests. What they depend on is found by itself; a module that
	// the kernel has built in is skipped.
	Modules []string
}

// kernels returns the kernel table. The cloud flavour is the stock kernel with fewer drivers; NVMe, ext4 and the
// serial console are built in, so that a guest needs no modules at all.
func kernels() []kernel {
	return []kernel{
		{Name: "6.1", Package: "linux-image-6.1.0-50-cloud-amd64"},
		{Name: "6.12", Package: "linux-image-6.12.117+deb12-cloud-amd64"},
		{Name: "5.10", Package: "linux-image-5.10.0-32-cloud-amd64", Release: "bullseye"},
	}
}

// suites returns the suite table. The selftest comes first everywhere: when the guest itself is wrong, it says so
// before the tests of the product get confusing.
func suites() []suite {
	const self = "test/vm/selftest"
	return []suite{
		{Name: "selftest", Packages: []string{self}},
		{Name: "cgroup", Packages: []string{
			self, "internal/hostfs", "internal/procstream", "internal/cgroup", "internal/container", "internal/hostview",
		}},
	}
}

// findKernel returns the row called name.
func findKernel(name string) (kernel, error) {
	var known []string
	for _, k := range kernels() {
		if k.Name == name {
			return k, nil
		}
		known = append(known, k.Name)
	}
	return kernel{}, fmt.Errorf("find kernel %q: not in the table (have %s)", name, strings.Join(known, ", "))
}

// findSuite returns the row called name.
func findSuite(name string) (suite, error) {
	var known []string
	for _, s := range suites() {
		if s.Name == name {
			return s, nil
		}
		known = append(known, s.Name)
	}
	return suite{}, fmt.Errorf("find suite %q: not in the table (have %s)", name, strings.Join(known, ", "))
}
