package connstream_test

import (
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
)

// served is what is known of the process of an incoming connection.
type served struct {
	pid  int
	comm string
}

func self() served { return served{os.Getpid(), comm()} }

// serverOf makes a connection and returns who served it.
func serverOf(tp *tape, netns uint64, l net.Listener) (served, error) {
	_, r, err := converse(tp, netns, l, exchange{up: 1, down: 1})
	return served{r.PID, r.Command()}, err
}

func expect(tp *tape, netns uint64, l net.Listener, want served) error {
	got, err := serverOf(tp, netns, l)
	if err == nil && got != want {
		err = fmt.Errorf("%s: served by %v, want %v: %w", l.Addr(), got, want, errWrong)
	}
	return err
}

// before runs f with listeners in a network namespace of their own and a
// stream that was started after them.
func before(t *testing.T, o connstream.Options, addresses []string, f func(*tape, *connstream.Stream, uint64, []net.Listener) error) {
	t.Helper()
	testkit.NeedBPF(t)
	inNetns(t, func(netns uint64) error {
		var all []net.Listener
		for _, address := range addresses {
			l, err := net.Listen("tcp", address)
			if err != nil {
				return err
			}
			defer l.Close()
			go serve(l)
			all = append(all, l)
		}
		tp, s, err := start(o)
		if err != nil {
			return err
		}
		defer s.Close()
		return f(tp, s, netns, all)
	})
}

// Who listens before the stream is known when it is told, by the address.
func TestListenerBySeed(t *testing.T) {
	addresses := []string{"127.0.0.1:4000", "127.0.0.2:4000", "0.0.0.0:4001", "[::1]:4000", "[::]:4002"}
	before(t, connstream.Options{}, addresses, func(tp *tape, s *connstream.Stream, netns uint64, all []net.Listener) error {
		var list []connstream.Listener
		for i, l := range all {
			if err := expect(tp, netns, l, served{}); err != nil {
				return err
			}
			list = append(list, connstream.Listener{Netns: netns, Local: addrOf(l), PID: 5000 + i, Comm: fmt.Sprint("seed-", i), MemoryCgroup: uint64(i)})
		}
		if err := s.Seed(list); err != nil {
			return err
		}
		for i, l := range all {
			if err := expect(tp, netns, l, served{5000 + i, fmt.Sprint("seed-", i)}); err != nil {
				return err
			}
		}
		// Again is no error, and changes nothing.
		list[0].PID = 1
		if err := s.Seed(list); err != nil {
			return err
		}
		return expect(tp, netns, all[0], served{5000, "seed-0"})
	})
}

// Who begins to listen is known better than what is told later, until it ends.
func TestListenerByListen(t *testing.T) {
	tp, s := open(t, connstream.Options{})
	inNetns(t, func(netns uint64) error {
		for _, address := range []string{"127.0.0.1:4000", "[::]:4001"} {
			l, err := net.Listen("tcp", address)
			if err != nil {
				return err
			}
			go serve(l)
			seed := connstream.Listener{Netns: netns, Local: addrOf(l), PID: 4711, Comm: "other"}
			if err := s.Seed([]connstream.Listener{seed}); err != nil {
				return err
			}
			if err := expect(tp, netns, l, self()); err != nil {
				return err
			}
			if known, err := s.Knows(seed); !known || err != nil {
				return fmt.Errorf("%s is not known (%v): %w", address, err, errWrong)
			}
			if err := l.Close(); err != nil {
				return err
			}
			if err := poll(func() error { return forgotten(s, seed) }); err != nil {
				return err
			}
		}
		return nil
	})
}

func forgotten(s *connstream.Stream, l connstream.Listener) error {
	if known, err := s.Knows(l); known || err != nil {
		return fmt.Errorf("%s is known after its end (%v): %w", l.Local, err, errNotYet)
	}
	return nil
}

// Who uses a connection is known better than who listened for it.
func TestOwnerByIO(t *testing.T) {
	before(t, connstream.Options{IO: true}, []string{"127.0.0.1:4000", "127.0.0.1:4001"}, func(tp *tape, s *connstream.Stream, netns uint64, all []net.Listener) error {
		for _, err := range s.Programs() {
			if err != nil {
				return nil // TestProgramsOfIO says so
			}
		}
		if err := expect(tp, netns, all[0], self()); err != nil {
			return err
		}
		if err := s.Seed([]connstream.Listener{{Netns: netns, Local: addrOf(all[1]), PID: 4711, Comm: "opener"}}); err != nil {
			return err
		}
		return expect(tp, netns, all[1], self())
	})
}

// The cgroups are those of the process, at both ends and with either way to
// know it.
func TestCgroups(t *testing.T) {
	testkit.NeedUnified(t)
	testkit.NeedCgroup(t, "memory")
	g := testkit.Cgroup(t, "connstream")
	unified, memory := inode(t, g.Dir("")), inode(t, g.Dir("memory"))
	own, err := os.Executable()
	require.NoError(t, err)
	f := func(o connstream.Options) {
		tp, _ := open(t, o)
		cmd := testkit.Run(t, g, "env", loadEnv+"=8", own)
		require.NoError(t, cmd.Wait())
		var all []connstream.Record
		testkit.Eventually(t, patience, func() error {
			all = tp.where(func(r *connstream.Record) bool { return r.PID == cmd.Process.Pid })
			if len(all) < 16 {
				return fmt.Errorf("%d records: %w", len(all), errNotYet)
			}
			return nil
		})
		require.Len(t, all, 16)
		for _, r := range all {
			require.Equal(t, unified, r.Cgroup, "%+v", r)
			require.Equal(t, memory, r.MemoryCgroup, "%+v", r)
		}
	}
	f(connstream.Options{})
	f(connstream.Options{IO: true})
}

// inode of a cgroup's directory is its id.
func inode(t *testing.T, dir string) uint64 {
	t.Helper()
	var stat unix.Stat_t
	require.NoError(t, unix.Stat(dir, &stat))
	return stat.Ino
}
