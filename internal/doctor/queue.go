package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/ownthread"
)

const (
	// queueLimit is how many datagrams may wait in a socket made in the network
	// namespace of the thread that opens the file.
	queueLimit = "/proc/sys/net/unix/max_dgram_qlen"
	// enoughQueue is the depth from which on nobody who sent 2,000 a second lost
	// any beside four senders without a limit (the receiver's transport/socket.go).
	enoughQueue = 4096
)

// checkStatsdQueue tries what the receiver does: it makes a network namespace,
// and looks whether the length of queues may be changed there. Nothing is
// written, and the namespace ends with the thread.
func checkStatsdQueue(context.Context) Result {
	host, err := readQueueLimit()
	if err != nil {
		return undecided("not known", err)
	}
	ownthread.Do(func() { err = tryDeepQueue() })
	return judgeQueue(host, err)
}

func readQueueLimit() (int, error) {
	b, err := hostfs.ReadFile(queueLimit, nil)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", queueLimit, err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("parse %s: %w", queueLimit, err)
	}
	return n, nil
}

func tryDeepQueue() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make network namespace: %w", err)
	}
	file, err := os.OpenFile(queueLimit, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return file.Close()
}

func judgeQueue(host int, refused error) Result {
	const deep = "Senders that burst are not refused while the agent is busy, and one that floods takes no room from others."
	switch {
	case refused == nil:
		return Result{Status: Pass, Found: "as deep as configured", Meaning: deep}
	case host >= enoughQueue:
		return Result{Status: Pass, Found: fmt.Sprintf("the host's: net.unix.max_dgram_qlen is %d", host), Meaning: deep}
	}
	return Result{
		Status: Warn, Found: fmt.Sprintf("the host's: net.unix.max_dgram_qlen is %d", host),
		Meaning: fmt.Sprintf("Only %d datagrams wait for the agent. Who sends more at once must wait, or loses metrics, as most clients choose: "+
			"of 2,000 a second 26 %% beside one container that floods, 85 %% beside four (with 10). What is lost so, only the client knows.", host),
		Remedy: queueRemedy(refused) + fmt.Sprintf(" Or, before the agent starts, sysctl -w net.unix.max_dgram_qlen=%d, in the "+
			"agent's network namespace (docker run --sysctl, unless --network host).", enoughQueue),
		Error: refused.Error(),
	}
}

// queueRemedy knows what stands in the way by the error: a /proc/sys that is
// mounted read-only (containers), a user other than root, a security module, or
// no right to make namespaces.
func queueRemedy(refused error) string {
	switch {
	case errors.Is(refused, unix.EROFS):
		return "Make /proc/sys writable: docker run --security-opt systempaths=unconfined, ProtectKernelTunables=no in the systemd unit."
	case errors.Is(refused, unix.EACCES):
		return "Run as root, or with CAP_NET_ADMIN beside CAP_SYS_ADMIN; in Docker with AppArmor: --security-opt apparmor=unconfined."
	}
	return "Run with CAP_SYS_ADMIN: as root on the host, AmbientCapabilities=CAP_SYS_ADMIN CAP_NET_ADMIN in the systemd unit, " +
		"docker run --cap-add SYS_ADMIN --security-opt systempaths=unconfined."
}
