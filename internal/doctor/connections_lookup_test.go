package doctor

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestJudgeLookup(t *testing.T) {
	f := func(h lookupHost, want Status, found string, parts ...string) {
		t.Helper()
		r := named(t, h.judge())
		require.Equal(t, want, r.Status, "%+v", r)
		require.Contains(t, r.Found, found)
		for _, part := range parts {
			require.Contains(t, r.Meaning+"\n"+r.Remedy, part)
		}
	}
	missing := fmt.Errorf("ask sock_diag: %w", unix.ENOENT)
	f(lookupHost{listeners: 3, stream: true}, Pass, "3 listen", "Open connections")
	f(lookupHost{listeners: 3}, Pass, "3 listen", "Open connections")
	f(lookupHost{elsewhere: unix.EPERM, stream: true}, Warn, "not for containers", "of containers", "CAP_SYS_ADMIN")
	f(lookupHost{elsewhere: missing, silent: missing, stream: true}, Warn, "does not answer", "is not known.", "modprobe -a inet_diag tcp_diag")
	f(lookupHost{elsewhere: missing, silent: missing}, Fail, "does not answer", "Nothing is known", "modprobe -a inet_diag tcp_diag")
	f(lookupHost{elsewhere: unix.EPERM, silent: unix.EPERM, stream: true}, Warn, "does not answer", "seccomp")
	f(lookupHost{elsewhere: unix.EIO, silent: unix.EAFNOSUPPORT, stream: true}, Warn, "does not answer", "RestrictAddressFamilies")
	f(lookupHost{elsewhere: unix.EIO, silent: unix.EIO, stream: true}, Warn, "does not answer", "Run it again")
}
