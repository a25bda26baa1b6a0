package doctor

import (
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestJudgeDisk(t *testing.T) {
	f := func(d disk, want Status, found string) {
		t.Helper()
		d.dir = "/var/lib"
		r := named(t, judgeDisk("/var/lib/tallyman", d))
		require.Equal(t, want, r.Status, "%+v", r)
		require.Contains(t, r.Found, found)
	}
	const gib = 1 << 30
	f(disk{free: 2 * gib, inodes: 100, freeInodes: 50}, Pass, "/var/lib/tallyman is not there yet; /var/lib: 2.0 GiB and 50 % of inodes free")
	f(disk{free: gib, inodes: 100, freeInodes: 5}, Pass, "1.0 GiB and 5 %")
	f(disk{free: gib - 1, inodes: 100, freeInodes: 50}, Warn, "")
	f(disk{free: 2 * gib, inodes: 1000, freeInodes: 49}, Warn, "4 % of inodes")
	f(disk{free: 2 * gib}, Pass, "2.0 GiB free") // btrfs makes inodes as needed
	f(disk{free: 2 * gib, refused: unix.EROFS}, Fail, "may not write")
}

func TestReadDisk(t *testing.T) {
	dir := t.TempDir()
	d, err := readDisk(filepath.Join(dir, "not", "there"))
	require.NoError(t, err)
	require.Equal(t, dir, d.dir)
	require.NoError(t, d.refused)
	require.Positive(t, d.free)
	d, err = readDisk("/proc/sys")
	require.NoError(t, err)
	require.Error(t, d.refused, "nobody makes a file there")
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = readDisk(filepath.Join(file, "below"))
	require.ErrorIs(t, err, unix.ENOTDIR)
}

func TestJudgeOpenFiles(t *testing.T) {
	f := func(limit uint64, want Status, meaning string) {
		t.Helper()
		r := named(t, judgeOpenFiles(limit))
		require.Equal(t, want, r.Status)
		require.Contains(t, r.Meaning, meaning)
	}
	f(1<<20, Pass, "Enough for 431 containers")
	f(4096, Pass, "Enough for 107 containers")
	f(4095, Warn, "Beyond 107 containers")
	f(1024, Warn, "beyond 256 the rest has no container.network.*")
}

// serve answers on a Unix socket as far as an engine is asked here.
func serve(t *testing.T, mode fs.FileMode) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, mode))
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", "1.47") })
	mux.HandleFunc("/v1.47/version", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"Version":"27.5.1","ApiVersion":"1.47"}`)
	})
	server := &http.Server{Handler: mux}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(listener) }()
	t.Cleanup(func() { require.NoError(t, server.Close()); <-ended })
	return path
}

func lookAtDocker(t *testing.T, o Options, host string) Result {
	t.Helper()
	t.Setenv("DOCKER_API_VERSION", "")
	t.Setenv("DOCKER_CERT_PATH", "")
	o.DockerHost = host
	return named(t, o.checkDocker(t.Context()))
}

func TestDocker(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	o := options()
	path := serve(t, 0o660)
	r := lookAtDocker(t, o, "unix://"+path)
	require.Equal(t, Pass, r.Status, "%+v", r)
	require.Contains(t, r.Found, " 0660; engine 27.5.1, API 1.47")

	open := serve(t, 0o666)
	r = lookAtDocker(t, o, "unix://"+open)
	require.Equal(t, Warn, r.Status)
	require.Contains(t, r.Meaning, "become root")
	require.Contains(t, r.Remedy, "chmod 660 "+open)
	require.Contains(t, r.Found, "engine 27.5.1")
}

func TestDockerThatIsNotThere(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	o, dir := options(), t.TempDir()
	f := func(host, found, errorText string) Result {
		t.Helper()
		r := lookAtDocker(t, o, host)
		require.Equal(t, Warn, r.Status, "%+v", r)
		require.Contains(t, r.Found, found)
		require.Contains(t, r.Error, errorText)
		require.Equal(t, noNames, r.Meaning)
		return r
	}
	f("unix://"+dir+"/docker.sock", "is not there", "no such file")
	f("unix://"+dir, "is not a socket", "")
	f("tcp://127.0.0.1:1", "no engine answers", "127.0.0.1:1")
	f("garbage", "no engine answers", "garbage")

	dead := filepath.Join(dir, "dead.sock") // a socket that nobody listens on any more
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	require.NoError(t, err)
	listener.SetUnlinkOnClose(false)
	require.NoError(t, listener.Close())
	f("unix://"+dead, "no engine answers", dead)

	// Where the host's root is mounted, its socket may be below.
	o.Roots = hostfs.NewRoots(dir)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "run"), 0o700))
	require.NoError(t, os.Rename(dead, filepath.Join(dir, hostSocket)))
	r := f("unix://"+dir+"/missing.sock", "but "+dir+"/run/docker.sock is", "no such file")
	require.Contains(t, r.Remedy, "--docker-host unix://"+dir+"/run/docker.sock")
}

func TestJudgeSocket(t *testing.T) {
	r, bad := judgeSocket(socketFile{path: "/s", mode: 0o660, owner: "root:docker", refused: unix.EACCES})
	require.True(t, bad)
	r = named(t, r)
	require.Equal(t, Warn, r.Status)
	require.Equal(t, "/s, root:docker 0660; this process may not open it", r.Found)
	require.Equal(t, "open /s: permission denied", r.Error)
	r = named(t, judgeNoSocket("/s", fs.ErrPermission, ""))
	require.Contains(t, r.Found, "may not enter")
}

// The real engine of this host, or a private one.
func TestRealEngine(t *testing.T) {
	engine := testkit.Docker(t)
	r := lookAtDocker(t, options(), engine.Host())
	require.Contains(t, r.Found, "; engine ", "%+v", r)
	require.Contains(t, r.Found, engine.Socket()+", root:")
}
