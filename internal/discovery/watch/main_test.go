package watch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// listenEnv makes the test's binary a server instead: it listens at the addresses,
// tcp4:host:port or udp4:host:port, until it is killed. A copy of it under another
// name is another program. With free- in front (free-tcp4:host:port) nobody needs to have the address; with
// later- in front of that it waits for SIGUSR1 first.
const listenEnv = "TALLYMAN_WATCH_LISTEN"

func TestMain(m *testing.M) {
	if at := os.Getenv(listenEnv); at != "" {
		serve(strings.Fields(at))
	}
	testkit.Main(m)
}

func serve(at []string) {
	var open []any // what nobody holds is closed by the garbage collector
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGUSR1)
	for _, text := range at {
		text, isLater := strings.CutPrefix(text, "later-")
		if isLater {
			<-told
		}
		text, isFree := strings.CutPrefix(text, "free-")
		network, addr, _ := strings.Cut(text, ":")
		how := net.ListenConfig{}
		if isFree {
			how.Control = bindFreely
		}
		var one any
		var err error
		if strings.HasPrefix(network, "udp") {
			one, err = how.ListenPacket(context.Background(), network, addr)
		} else {
			one, err = how.Listen(context.Background(), network, addr)
		}
		open = append(open, one)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	killed := make(chan os.Signal, 1)
	signal.Notify(killed, unix.SIGTERM)
	<-killed
	runtime.KeepAlive(open)
	os.Exit(0)
}

// bindFreely needs no capability (ip(7), IP_FREEBIND).
func bindFreely(_, _ string, c syscall.RawConn) error {
	var err error
	return errors.Join(c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
	}), err)
}
