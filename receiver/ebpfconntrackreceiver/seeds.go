package ebpfconntrackreceiver

import (
	"errors"

	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/procstream"
	"github.com/tallymanhq/tallyman/internal/sockdiag"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
)

// seed tells the stream who listens already: the process of an accepted connection
// is not known otherwise.
func (s *server) seed(all []*netns.Namespace) {
	var found []connstream.Listener
	var sockets []uint64 // inodes of found
	wanted := map[uint64]struct{}{}
	for _, n := range all {
		dump, err := s.listenersOf(n)
		if err != nil {
			if !errors.Is(err, hostfs.ErrGone) {
				s.log.Debug("listeners of before the start are not known", zap.Uint64("network.namespace.inode", n.Inode), zap.Error(err))
			}
			continue
		}
		for i := range dump.Listeners {
			l := &dump.Listeners[i]
			found = append(found, connstream.Listener{Netns: n.Inode, Local: l.Local, Cgroup: l.Cgroup})
			sockets = append(sockets, l.Inode)
			wanted[l.Inode] = struct{}{}
		}
	}
	pids := sockdiag.Owners(sockdiag.Search{Proc: s.roots.Proc}, wanted).Pids
	reader := procstream.NewReader(s.roots)
	for i := range found {
		pid := pids[sockets[i]]
		stat, err := reader.Stat(pid)
		if pid == 0 || err != nil {
			continue // gone, or not for us to see
		}
		found[i].PID, found[i].Comm = pid, stat.Comm
	}
	if err := s.stream.Seed(found); err != nil {
		s.log.Info("some listeners of before the start are not known", zap.Error(err))
	}
}

func (s *server) listenersOf(n *netns.Namespace) (*sockdiag.Sockets, error) {
	file, err := s.looks.enter(n, s.tracker.Open)
	if err != nil {
		return nil, err
	}
	if file != nil {
		defer file.Close()
	}
	return sockdiag.Dump(file, sockdiag.Options{ListenersOnly: true})
}
