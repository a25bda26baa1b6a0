package testkit_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A program in a still network sees the loopback alone, and reaches what it was given.
func TestStillNet(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "curl")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello "+r.Host)
	}))
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	still := testkit.NewStillNet(t)
	run := func(name string, args ...string) (string, error) {
		cmd := exec.Command(name, args...)
		still.Enter(cmd)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	links, err := run("ls", "/proc/self/net/dev_snmp6")
	if got := strings.Fields(links); err != nil || !slices.Equal(got, []string{"lo"}) {
		t.Errorf("its interfaces are %q (%v), want the loopback alone", got, err)
	}
	ask := func() (string, error) { return run("curl", "--silent", "--show-error", server.URL) }
	if said, err := ask(); err == nil {
		t.Errorf("the host is reached before it was asked for: %q", said)
	}
	for range 2 {
		if err := still.Reach(address); err != nil {
			t.Fatal(err)
		}
		if said, err := ask(); err != nil || said != "hello "+address {
			t.Errorf("through the network comes %q (%v)", said, err)
		}
	}
	server.Close()
	if said, err := ask(); err == nil {
		t.Errorf("a server that is gone says %q", said)
	}
}

// A connection that is in use when the test ends ends with it.
func TestStillNetEnds(t *testing.T) {
	testkit.NeedRoot(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	place := strings.Replace(listener.Addr().String(), ":", "/", 1)
	cmd := exec.Command("bash", "-c", "exec 3<>/dev/tcp/"+place+" && echo here >&3 && ! read line <&3")
	var far net.Conn
	if !t.Run("in use", func(t *testing.T) {
		still := testkit.NewStillNet(t)
		if err := still.Reach(listener.Addr().String()); err != nil {
			t.Fatal(err)
		}
		still.Enter(cmd)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if far, err = listener.Accept(); err != nil {
			t.Fatal(err)
		}
		said := make([]byte, 5)
		if _, err := io.ReadFull(far, said); err != nil || string(said) != "here\n" {
			t.Fatalf("it says %q (%v)", said, err)
		}
	}) {
		return
	}
	if n, err := far.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the connection goes on: %d bytes, %v", n, err)
	}
	far.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the program inside: %v", err)
	}
}
