package doctor

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

func TestKernelLog(t *testing.T) {
	missing := named(t, Options{Roots: hostfs.NewRoots(t.TempDir())}.checkKernelLog(t.Context()))
	require.Equal(t, Warn, missing.Status)
	require.Contains(t, missing.Remedy, "--device /dev/kmsg")

	f := func(err error, want Status, remedy string) {
		t.Helper()
		r := named(t, judgeKernelLog("/dev/kmsg", err))
		require.Equal(t, want, r.Status)
		require.Contains(t, r.Remedy, remedy)
	}
	f(nil, Pass, "")
	f(unix.EPERM, Warn, "CAP_SYSLOG")
	f(unix.EACCES, Warn, "CAP_SYSLOG")
	f(unix.ENXIO, Warn, "1:11")
}
