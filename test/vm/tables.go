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
	// Run selects tests, as go test -run does; empty is all.
	Run string
	// Short runs the tests with -short, which some of them take as: fewer, but never nothing.
	Short bool
	// Modules are kernel modules to insert before the tests. What they depend on is found by itself; a module that
	// the kernel has built in is skipped.
	Modules []string
	// Programs are the host's, with the libraries they need, for tests that start them.
	Programs []string
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
		network(self),
	}
}

// network is the suite of connections and their translation.
func network(self string) suite {
	const below = "receiver/ebpfconntrackreceiver/internal/"
	return suite{
		Name:     "network",
		Packages: []string{self, "internal/sockdiag", below + "connstream", below + "nat"},
		Short:    true,
		Modules: []string{
			// Namespaces, and the wires between them.
			"veth", "bridge", "sch_netem",
			// What the kernel says of sockets, and of connections that it translates.
			"inet_diag", "tcp_diag", "udp_diag", "nf_conntrack", "nf_conntrack_netlink",
			// The rules of a published port. There is no modprobe in the guest: what nft would have loaded is here.
			"nf_tables", "nft_chain_nat", "nft_ct", "nft_nat", "nft_masq", "nft_fib_inet",
		},
		Programs: []string{"ip", "tc", "nft", "conntrack"},
	}
}

// arguments are those of every test binary, for a shell that splits them into words.
func (s suite) arguments() string {
	all := "-test.v -test.timeout=" + testTimeout.String()
	if s.Short {
		all += " -test.short"
	}
	if s.Run != "" {
		all += " -test.run=" + s.Run
	}
	return all
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
