package sockdiag_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/sockdiag"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// TestMain makes this program something else where the environment says so.
func TestMain(m *testing.M) {
	for name, f := range map[string]func(string) error{serverEnv: serve, plainEnv: askAsNobody} {
		value := os.Getenv(name)
		if value == "" {
			continue
		}
		if err := f(value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	probe()
	testkit.Main(m)
}

// probe has package net find out whether there is IPv6. It does so once, at its
// first socket, and that may be in a namespace that has no ::1.
func probe() {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close()
	}
}

// serverEnv makes a server that listens at the address, with the network before
// it, until it is killed, or for ten minutes if nobody does.
const serverEnv = "TALLYMAN_TEST_LISTEN"

func serve(where string) error {
	network, address, _ := strings.Cut(where, " ")
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Minute)); err != nil {
		return err
	}
	_, err = l.Accept()
	return err
}

// plainEnv makes somebody without capabilities who asks for the sockets of his own
// namespace, where he listens, and then for those of the namespace that he was
// given as descriptor 3.
const plainEnv = "TALLYMAN_TEST_PLAIN"

func askAsNobody(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	defer l.Close()
	own, err := sockdiag.Dump(nil, sockdiag.Options{})
	if err != nil || listener(own, l) == nil {
		return fmt.Errorf("sockets of the own namespace: %+v %w", own, err)
	}
	all, err := sockdiag.Dump(os.NewFile(3, "namespace"), sockdiag.Options{})
	fmt.Printf("%v; %v\n", all == nil, err)
	found := sockdiag.Owners(sockdiag.Search{Proc: "/proc"}, map[uint64]struct{}{own.Listeners[0].Inode: {}, 1: {}})
	fmt.Println(found.NoPermission > 0)
	return nil
}
