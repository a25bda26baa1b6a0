package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// pidEnv is the process whose servers are wanted from somebody with fewer rights.
const pidEnv = "TALLYMAN_WATCH_PID"

// Who may not enter other namespaces is told the same by the files, and tries no
// second time. In his own he asks.
func TestServersWithoutSysAdmin(t *testing.T) {
	if text := os.Getenv(pidEnv); text != "" {
		if err := lookWithoutSysAdmin(text); err != nil {
			t.Fatal(err)
		}
		return
	}
	testkit.VerifyNoLeaks(t)
	testkit.NeedCommand(t, "setpriv")
	inPlace(t, everyKind, func(p place) error {
		cmd := exec.Command("setpriv", "--bounding-set=-sys_admin", os.Args[0], "-test.run=^TestServersWithoutSysAdmin$", "-test.v")
		cmd.Env = append(os.Environ(), pidEnv+"="+strconv.Itoa(p.pid))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

func lookWithoutSysAdmin(text string) error {
	pid, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	n := newNamespaces("/proc")
	if err := tells(n.servers(pid, 0), kindsWanted); err != nil {
		return err
	}
	if !errors.Is(n.refused, fs.ErrPermission) {
		return fmt.Errorf("not refused: %w", n.refused)
	}
	first := n.refused
	if err := tells(n.servers(pid, 0), kindsWanted); err != nil || n.refused != first {
		return fmt.Errorf("at the second time %w: %w", err, n.refused)
	}
	door, err := n.open("/proc/self/ns/net", 0)
	if err != nil {
		return fmt.Errorf("own namespace: %w", err)
	}
	door.Close()
	return nil
}
