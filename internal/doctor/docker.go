package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

const (
	// noNames is what is missing without an engine, and what is not.
	noNames = "No container names, images and labels. Numbers, limits and container ids do not need the engine."
	// unixScheme starts the address of an engine on this host.
	unixScheme = "unix://"
	// hostSocket is where the engine's socket is below the host's root:
	// /var/run is a link, which would lead out of a root that is mounted.
	hostSocket = "run/docker.sock"
)

// socketFile is what the file system says of the engine's socket.
type socketFile struct {
	path        string
	mode        fs.FileMode
	owner       string // user:group, by name where there is one
	refused     error  // why this process may not open it
	isNotSocket bool
}

func (o Options) checkDocker(ctx context.Context) Result {
	path, isUnix := strings.CutPrefix(o.DockerHost, unixScheme)
	var file socketFile
	if isUnix {
		var err error
		if file, err = readSocket(path); err != nil {
			return judgeNoSocket(path, err, findHostSocket(o.Roots, path))
		}
		if r, bad := judgeSocket(file); bad {
			return r
		}
	}
	engine, err := askEngine(ctx, o.DockerHost)
	return judgeEngine(o.DockerHost, file, engine, err)
}

func readSocket(path string) (socketFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return socketFile{}, err
	}
	s := socketFile{path: path, mode: info.Mode().Perm(), owner: "unknown owner", isNotSocket: info.Mode().Type() != fs.ModeSocket}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.owner = ownerName(st.Uid, st.Gid)
	}
	s.refused = unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK|unix.W_OK, unix.AT_EACCESS)
	return s, nil
}

// ownerName uses names where /etc/passwd and /etc/group of this process know
// them, as they may not in a container.
func ownerName(uid, gid uint32) string {
	name, group := strconv.Itoa(int(uid)), strconv.Itoa(int(gid))
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return name + ":" + group
}

// findHostSocket looks for the socket where the host's root is mounted; "" if
// it is not there either.
func findHostSocket(roots hostfs.Roots, path string) string {
	elsewhere := roots.Root + "/" + hostSocket
	if info, err := os.Stat(elsewhere); roots.IsHost() || elsewhere == path || err != nil || info.Mode().Type() != fs.ModeSocket {
		return ""
	}
	return elsewhere
}

func judgeNoSocket(path string, err error, elsewhere string) Result {
	r := Result{Status: Warn, Meaning: noNames, Error: err.Error()}
	switch {
	case errors.Is(err, fs.ErrNotExist) && elsewhere != "":
		r.Found = path + " is not there, but " + elsewhere + " is"
		r.Remedy = "Use that: --docker-host " + unixScheme + elsewhere + " (DOCKER_HOST)."
	case errors.Is(err, fs.ErrNotExist):
		r.Found = path + " is not there"
		r.Remedy = "Without Docker, nothing. Else start it, or say where it is: --docker-host unix:///... (DOCKER_HOST). " +
			"In a container, mount it: -v /var/run/docker.sock:/var/run/docker.sock."
	case errors.Is(err, fs.ErrPermission):
		r.Found = path + " is in a directory that this process may not enter"
		r.Remedy = "Run as root."
	default:
		r.Status, r.Found = Unknown, path+" cannot be looked at"
		r.Remedy = "Run it again as root."
	}
	return r
}

// judgeSocket reports whether the file alone is reason enough.
func judgeSocket(s socketFile) (Result, bool) {
	switch {
	case s.isNotSocket:
		return Result{
			Status: Warn, Found: s.path + " is not a socket", Meaning: noNames,
			Remedy: "Remove it and restart Docker. Docker makes a directory of it when it was mounted into a container before it was there.",
		}, true
	case s.refused != nil:
		return Result{
			Status: Warn, Found: s.describe() + "; this process may not open it", Meaning: noNames,
			Remedy: "Run as root, or with the socket's group (SupplementaryGroups=docker; docker run --group-add). Who is in it can become root.",
			Error:  fmt.Sprintf("open %s: %v", s.path, s.refused),
		}, true
	}
	return Result{}, false
}

// describe says who may use the socket.
func (s socketFile) describe() string {
	return fmt.Sprintf("%s, %s %04o", s.path, s.owner, s.mode)
}

// openToAll reports whether every user of the host may use the socket.
func (s socketFile) openToAll() bool { return s.mode&0o002 != 0 }

// askEngine returns the engine's version and the highest API version it has.
func askEngine(ctx context.Context, host string) (string, error) {
	api, err := client.New(client.WithTLSClientConfigFromEnv(), client.WithHost(host), client.WithAPIVersionFromEnv())
	if err != nil {
		return "", err
	}
	defer func() { _ = api.Close() }()
	if _, err := api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return "", err
	}
	version, err := api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return "", err
	}
	return "engine " + version.Version + ", API " + version.APIVersion, nil
}

func judgeEngine(host string, file socketFile, engine string, err error) Result {
	found := host
	if file.path != "" {
		found = file.describe()
	}
	switch {
	case err != nil && file.path == "":
		return Result{
			Status: Warn, Found: found + "; no engine answers", Meaning: noNames,
			Remedy: "Check --docker-host (DOCKER_HOST). The engine must be this host's: unix:///var/run/docker.sock.",
			Error:  err.Error(),
		}
	case err != nil:
		return Result{
			Status: Warn, Found: found + "; no engine answers", Meaning: noNames,
			Remedy: "See why it does not run: systemctl status docker; journalctl -u docker.",
			Error:  err.Error(),
		}
	case file.openToAll():
		return Result{
			Status: Warn, Found: found + "; " + engine,
			Meaning: "The engine answers. But every user of this host may use its socket, and with it become root.",
			Remedy:  "chmod 660 " + file.path + ", and find out who opened it.",
		}
	}
	return Result{Status: Pass, Found: found + "; " + engine, Meaning: "Names, images and labels of Docker's containers can be asked for."}
}
