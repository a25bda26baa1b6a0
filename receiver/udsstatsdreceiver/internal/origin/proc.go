package origin

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/pidfd"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// Numbers of the host's first namespaces, fixed in the kernel as
// PROC_PID_INIT_INO and PROC_CGROUP_INIT_INO (include/linux/proc_ns.h).
const (
	hostPIDNamespace    = "pid:[4026531836]"
	hostCgroupNamespace = "cgroup:[4026531835]"
)

// ownNamespaces is where this process is.
type ownNamespaces struct {
	// foreignProc: the /proc here is not that of our pid namespace, so that the
	// kernel's numbers mean others there.
	foreignProc bool
	// innerPIDs: our pid namespace is not the host's first one, so that the
	// process stream's numbers mean others. innerCgroups: "/" may be the inside
	// of a container.
	innerPIDs, innerCgroups bool
}

func lookAtNamespaces(proc string) ownNamespaces {
	self, err := os.Readlink(filepath.Join(proc, "self"))
	is := func(file, want string) bool {
		got, err := os.Readlink(filepath.Join(proc, "self/ns", file))
		return err == nil && got == want
	}
	n := ownNamespaces{
		foreignProc: err != nil || self != strconv.Itoa(os.Getpid()),
		innerPIDs:   !is("pid", hostPIDNamespace),
	}
	n.innerCgroups = !is("cgroup", hostCgroupNamespace)
	return n
}

// look is what /proc says of the process that has a number now.
type look struct {
	// pidfd is a descriptor of it, -1 if the kernel gives none; the caller
	// closes it.
	pidfd int
	start uint64
	// id is meant for class ClassContainer, else host says whether it is surely
	// in none.
	id     container.Identity
	host   bool
	reason Reason // why nothing is known, or ""
}

// looker reads /proc. It is not safe for concurrent use.
type looker struct {
	own    ownNamespaces
	proc   string
	reader *procstream.Reader
	buf    []byte
}

// newLooker reads our own /proc and not the host's at a configurable root: the
// numbers of credentials are those of our pid namespace.
func newLooker(own ownNamespaces) *looker {
	roots := hostfs.NewRoots("/")
	return &looker{own: own, proc: roots.Proc, reader: procstream.NewReader(roots), buf: make([]byte, 0, 4096)}
}

// look reads what is there and makes sure that all of it is about one living
// process: that of pidfd, or if that is -1 the one that has the number. pidfd
// stays the caller's; the one in the result is another.
func (l *looker) look(pid, pidfd int) look {
	if l.own.foreignProc {
		return look{pidfd: -1, reason: ReasonNamespace}
	}
	fd, reason := open(pid, pidfd)
	if reason != "" {
		return look{pidfd: -1, reason: reason}
	}
	r := l.read(pid, fd)
	if r.reason != "" && fd >= 0 {
		_ = unix.Close(fd) // only looked at
		fd = -1
	}
	r.pidfd = fd
	return r
}

// open returns a descriptor of the caller's process, or of who has the number;
// -1 where there are none to have.
func open(pid, pidfd int) (int, Reason) {
	if pidfd >= 0 {
		fd, err := unix.FcntlInt(uintptr(pidfd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return -1, ReasonUnreadable // out of descriptors: without one the number proves nothing
		}
		return fd, ""
	}
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case err == nil:
		return fd, ""
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EINVAL): // EINVAL: a thread of somebody
		return -1, ReasonGone
	}
	return -1, "" // before Linux 5.3, refused by seccomp, or out of descriptors
}

func (l *looker) read(pid, fd int) look {
	var before procstream.Stat
	var err error
	if fd < 0 {
		if before, err = l.reader.Stat(pid); err != nil {
			return look{reason: l.why(err, fd)}
		}
	}
	content, err := hostfs.ReadFile(l.proc+"/"+strconv.Itoa(pid)+"/cgroup", l.buf)
	l.buf = content
	if err != nil {
		return look{reason: l.why(err, fd)}
	}
	id, ok := container.ParseProcCgroup(content)
	stat, err := l.reader.Stat(pid)
	if err != nil {
		return look{reason: l.why(err, fd)}
	}
	if fd < 0 && stat.Start != before.Start || fd >= 0 && pidfd.HasEnded(fd) {
		return look{reason: ReasonGone}
	}
	if ok && id.Class == container.ClassContainer {
		return look{start: stat.Start, id: id}
	}
	if stat.Ended {
		// Cgroup v1 already shows it in the root, where it was not
		// (kernel/cgroup/cgroup.c, proc_cgroup_show).
		return look{reason: ReasonGone}
	}
	if ok && hostview.IsHost(id) || l.inRoot(id) {
		return look{start: stat.Start, host: true}
	}
	return look{reason: ReasonCgroup}
}

// inRoot: in no cgroup at all, unless "/" is the inside of our own container.
func (l *looker) inRoot(id container.Identity) bool { return id.Root == "/" && !l.own.innerCgroups }

// why tells one that has gone from one that is hidden (hidepid) and lives.
func (l *looker) why(err error, fd int) Reason {
	switch {
	case errors.Is(err, hostfs.ErrGone) && (fd < 0 || pidfd.HasEnded(fd)):
		return ReasonGone
	case errors.Is(err, hostfs.ErrGone), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return ReasonPermission
	}
	return ReasonUnreadable
}
