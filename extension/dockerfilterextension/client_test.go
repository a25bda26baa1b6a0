package dockerfilterextension

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	clientEnv = "TALLYMAN_TEST_CLIENT" // the socket
	pathEnv   = "TALLYMAN_TEST_PATH"
)

// clientTarget is the socket that this process is to ask, if it is the client.
func clientTarget() string { return os.Getenv(clientEnv) }

// answerOf is what the client tells.
type answerOf struct {
	Status int
	Body   string
}

func actAsClient(t *testing.T, socket string) {
	t.Helper()
	r := &rig{t: t, socket: socket}
	status, body := r.get(os.Getenv(pathEnv))
	require.NoError(t, json.NewEncoder(os.Stderr).Encode(answerOf{status, body}))
}

// getAs asks from another process: this one counts as the agent.
func (r *rig) getAs(path string, who *syscall.Credential) (status int, body string) {
	r.t.Helper()
	cmd := exec.Command(r.clientBinary(), "-test.run=^TestHiddenContainers$")
	cmd.Env = append(os.Environ(), clientEnv+"="+r.socket, pathEnv+"="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	cmd.Dir = "/"
	said, err := cmd.StderrPipe()
	require.NoError(r.t, err)
	require.NoError(r.t, cmd.Start())
	var a answerOf
	err = json.NewDecoder(said).Decode(&a)
	require.NoError(r.t, cmd.Wait())
	require.NoError(r.t, err)
	return a.Status, a.Body
}

func plainUser() *syscall.Credential { return &syscall.Credential{Uid: 65534, Gid: 65534} }

// clientBinary is this test where everybody may execute it.
func (r *rig) clientBinary() string {
	r.t.Helper()
	dir := openDir(r.t)
	binary, err := os.ReadFile("/proc/self/exe")
	require.NoError(r.t, err)
	name := filepath.Join(dir, "client")
	require.NoError(r.t, os.WriteFile(name, binary, 0o755))
	return name
}

// openDir is a directory that everybody may enter, unlike those of the testing
// package.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tallyman-filter-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}
