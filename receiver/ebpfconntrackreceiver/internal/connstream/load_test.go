package connstream_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// loadEnv makes this program a workload: it connects to itself as often as
// the value says.
const loadEnv = "TALLYMAN_TEST_CONNECTIONS"

// exchangesEnv is how often each connection is used; without it once.
const exchangesEnv = "TALLYMAN_TEST_EXCHANGES"

// loadClients at a time.
const loadClients = 8

// runLoad makes connections in a process and a network namespace of their own,
// so that they are not part of this process' time.
func runLoad(b testing.TB, connections, exchanges int) {
	b.Helper()
	own, err := os.Executable()
	require.NoError(b, err)
	cmd := exec.Command(own)
	cmd.Env = append(os.Environ(), loadEnv+"="+strconv.Itoa(connections), exchangesEnv+"="+strconv.Itoa(exchanges))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	require.NoError(b, err, "%s", out)
}

// makeLoad is the workload: requests of 100 bytes, answers of 100.
func makeLoad() {
	if err := load(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func load() error {
	connections, err := strconv.Atoi(os.Getenv(loadEnv))
	if err != nil {
		return err
	}
	exchanges := 1
	if text, set := os.LookupEnv(exchangesEnv); set {
		if exchanges, err = strconv.Atoi(text); err != nil {
			return err
		}
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	talk := dialogue{requests: exchanges, asks: 1, answers: 1}
	go talk.serve(l)
	var wg sync.WaitGroup
	errs := make(chan error, loadClients)
	for i := range loadClients {
		wg.Go(func() {
			for range (connections + i) / loadClients {
				c, err := dial(addrOf(l))
				if err == nil {
					err = talk.request(c)
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// serve responds to all who connect until the listener is closed. What goes wrong
// is seen by the client.
func (d dialogue) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() { _ = d.respond(c) }()
	}
}
