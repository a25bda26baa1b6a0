package main

import (
	"fmt"
	"strings"
)

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

// suites returns the suite table. The selftest comes first everywhere: when the guest itself is wrong, it says so
// before the tests of the product get confusing.
func suites() []suite {
	const self = "test/vm/selftest"
	return []suite{
		{Name: "selftest", Packages: []string{self}},
		{Name: "cgroup", Packages: []string{
			self, "internal/hostfs", "internal/bpfload", "internal/procstream", "internal/cgroup", "internal/container", "internal/netns",
			"internal/hostview",
		}},
		// What depends on the kernel most, for the kernels that not everything runs on.
		{Name: "process", Packages: []string{self, "internal/bpfload", "internal/procstream", "internal/hostview"}},
	}
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
