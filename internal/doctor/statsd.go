package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	// statsdName is the socket's name in its directory (otelcol-config.yaml).
	statsdName = "dsd.socket"
	// maxSocketPath is what fits into sun_path of struct sockaddr_un, without the
	// zero at its end (unix(7)). The receiver first gives the socket a name of a
	// dot and ten letters, which is as long as its own.
	maxSocketPath = 107

	noStatsdStart = "With the default configuration the agent does not start: it makes the socket for custom metrics there."
	otherStatsd   = "name another directory: TALLYMAN_STATSD_DIR, --statsd-dir here"
)

// errOtherType says that what answers at the path is no datagram socket.
var errOtherType = errors.New("a socket of another type answers there")

// statsdPlace is where the socket of the receiver uds_statsd is or will be.
type statsdPlace struct {
	dir string
	// there is dir, or its nearest parent that is there.
	there string
	// mode is of there; refused is why this process may not write to it.
	mode    fs.FileMode
	refused error
	// isInner: in a container, the directory is the container's own, which no
	// other one can mount.
	isInner bool

	// socket is the file in it, hasSocket false if there is none.
	socket    socketFile
	hasSocket bool
	// answer is what connecting to it gave: nil if somebody listens.
	answer error
}

func (o Options) checkStatsdSocket(context.Context) Result {
	p, err := o.readStatsdPlace()
	if err != nil {
		return undecided(o.StatsdDir+" cannot be looked at", err)
	}
	return p.judge()
}

func (o Options) readStatsdPlace() (statsdPlace, error) {
	dir, err := filepath.Abs(o.StatsdDir)
	if err != nil {
		return statsdPlace{}, err
	}
	there, err := existing(dir)
	if err != nil {
		return statsdPlace{}, err
	}
	info, err := os.Stat(there)
	if err != nil {
		return statsdPlace{}, err
	}
	p := statsdPlace{
		dir: dir, there: there, mode: info.Mode(),
		refused: unix.Faccessat(unix.AT_FDCWD, there, unix.W_OK|unix.X_OK, unix.AT_EACCESS),
	}
	mount := mountOf(there)
	p.isInner = !o.Roots.IsHost() && mount >= 0 && mount == mountOf("/")
	if p.there != p.dir {
		return p, nil
	}
	p.socket, err = readSocket(p.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p, nil
	case err != nil:
		return statsdPlace{}, err
	}
	p.hasSocket = true
	if !p.socket.isNotSocket {
		p.answer = reach(p.path())
	}
	return p, nil
}

func (p statsdPlace) path() string { return filepath.Join(p.dir, statsdName) }

// mountOf is the number of the mount that a path is on, -1 where that cannot be
// told (before Linux 5.8) and for what is not there.
func mountOf(path string) int64 {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &st)
	if err != nil || st.Mask&unix.STATX_MNT_ID == 0 {
		return -1
	}
	return int64(st.Mnt_id)
}

// reach connects to a datagram socket, of which nobody at its other end is told.
func reach(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing was sent
	switch err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); {
	case errors.Is(err, unix.EPROTOTYPE):
		return errOtherType
	case err != nil:
		return fmt.Errorf("connect to %s: %w", path, err)
	}
	return nil
}

// judge goes from what keeps the agent from starting to what is well.
func (p statsdPlace) judge() Result {
	path := p.path()
	switch {
	case len(path) > maxSocketPath:
		return Result{
			Status: Fail, Found: fmt.Sprintf("%s has %d bytes; the kernel has room for %d", path, len(path), maxSocketPath),
			Meaning: noStatsdStart, Remedy: sentence(otherStatsd),
		}
	case p.hasSocket && p.socket.isNotSocket:
		return Result{
			Status: Fail, Found: path + " is not a socket", Meaning: noStatsdStart,
			Remedy: "Remove it. Docker makes a directory of it when the file is mounted before it is there: mount its directory.",
		}
	case p.hasSocket && errors.Is(p.answer, errOtherType):
		return Result{
			Status: Fail, Found: p.socket.describe() + ", another program's", Meaning: noStatsdStart,
			Remedy: "See whose it is (ss -xlp), or " + otherStatsd + ".", Error: p.answer.Error(),
		}
	case p.refused != nil:
		return p.judgeRefused()
	case p.isInner:
		return Result{
			Status: Warn, Found: p.describe() + ", in this container's own file system",
			Meaning: "No other container and no process of the host sees the socket: custom metrics reach nobody.",
			Remedy:  "Mount it from the host: -v " + p.dir + ":" + p.dir + "; Kubernetes: hostPath. Or a volume: TALLYMAN_STATSD_DIR.",
		}
	case p.there == p.dir && p.mode&0o002 != 0:
		return Result{
			Status: Warn, Found: fmt.Sprintf("%s, which every user may write to (%04o)", p.describe(), p.mode.Perm()),
			Meaning: "Who may write there can put a socket of his own in place of the agent's, and take what others send.",
			Remedy:  "chmod 755 " + p.dir + ", or " + otherStatsd + ".",
		}
	}
	return p.judgeSocket()
}

// judgeRefused is of a directory that this process may not write to. Where
// somebody listens there already, that may well be the agent, as another user.
func (p statsdPlace) judgeRefused() Result {
	r := Result{
		Status: Fail, Found: p.describe() + "; this process may not write there", Meaning: noStatsdStart,
		Remedy: "systemd: RuntimeDirectory=tallyman. Else make it and give it to the agent's user (install -d -o USER " + p.dir +
			"), or " + otherStatsd + ".",
		Error: fmt.Sprintf("write to %s: %v", p.there, p.refused),
	}
	if p.hasSocket && p.answer == nil {
		r.Status = Warn
		r.Meaning = "Somebody takes custom metrics there, as another user. An agent of this user does not start with this directory."
	}
	return r
}

// judgeSocket is of a directory in which all is well.
func (p statsdPlace) judgeSocket() Result {
	const mount = " Containers need the directory: -v %s:/var/run/datadog:ro, DD_DOGSTATSD_URL=unix:///var/run/datadog/" + statsdName + "."
	r := Result{Status: Pass, Found: p.describe(), Meaning: "The agent can make its socket there." + fmt.Sprintf(mount, p.dir)}
	switch {
	case !p.hasSocket:
		return r
	case p.answer == nil:
		r.Found = p.socket.describe() + "; somebody listens"
		r.Meaning = "Custom metrics are taken there; a second agent with this directory does not start." + fmt.Sprintf(mount, p.dir)
		return r
	case errors.Is(p.answer, unix.ECONNREFUSED):
		r.Found = p.socket.describe() + "; nobody listens"
		r.Meaning = "It is left of an agent that has ended, and the next one replaces it." + fmt.Sprintf(mount, p.dir)
		return r
	}
	return Result{
		Status: Warn, Found: p.socket.describe() + "; it cannot be reached", Meaning: "The agent starts only where it can tell that the socket is nobody's.",
		Remedy: "Run this as the agent's user. If it stays: " + otherStatsd + ".", Error: p.answer.Error(),
	}
}

func (p statsdPlace) describe() string {
	switch {
	case p.hasSocket:
		return p.path()
	case p.there == p.dir:
		return p.dir + ", no socket yet"
	}
	return p.dir + " is not there yet; " + p.there
}
