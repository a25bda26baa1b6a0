package connstream_test

import (
	"net"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
)

// A stream that never looks by itself is woken by the first record after any pause,
// and finds those that follow it within the pause.
func TestRecordsWakeTheReader(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	tp, _ := open(t, connstream.Options{}.WithoutLooks())
	inNetns(t, func(netns uint64) error {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		for n := range 60 {
			client, err := net.Dial("tcp4", l.Addr().String())
			if err != nil {
				return err
			}
			server, err := l.Accept()
			if err != nil {
				return err
			}
			_ = client.Close()
			<-time.After(time.Duration(n%4) * 25 * time.Millisecond) // within the pause, and after it
			if err := server.Close(); err != nil {
				return err
			}
			if _, err := tp.await(netns, 2*n+2); err != nil {
				return err
			}
		}
		return nil
	})
}
