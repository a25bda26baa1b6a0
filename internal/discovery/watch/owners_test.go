package watch

import (
	"strconv"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A socket whose owner could not be found gets one when a process appears that has
// it, as haproxy's worker does.
func TestOwnerAppears(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedCommand(t, "unshare", "nsenter", "env")
	r := newRig(t, Options{View: view(t), Every: time.Second})
	id, group, first := start(t, 6, "unshare", "-n", "sleep", "600")
	server := testkit.Run(t, testkit.Cgroup(t, "watch-owner"), "nsenter", "-t", strconv.Itoa(first.Process.Pid), "-n",
		"env", listenEnv+"=tcp4:0.0.0.0:80", program(t, "web"))
	r.expect(t, id, listens("tcp 0.0.0.0:80 "))
	group.AddPID(server.Process.Pid)
	r.expect(t, id, listens("tcp 0.0.0.0:80 web"))
}
