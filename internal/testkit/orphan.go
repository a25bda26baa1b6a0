package testkit

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// bridgePrefix and eight hexadecimal digits are the bridges of the tests' engines.
	bridgePrefix = "tly"
	bridgeLength = len(bridgePrefix) + 8
	// orphanAfter is how long such a bridge may be without its engine: tests that kill
	// one to start it again take some seconds.
	orphanAfter = 15 * time.Second
)

// reclaim takes back what an engine of the tests has left of itself on the host when it
// was killed along with everybody who could have stopped it: its rules and its bridge.
// It tells whether it has.
func reclaim(ctx context.Context, bridge string) (bool, error) {
	if !strings.HasPrefix(bridge, bridgePrefix) || len(bridge) != bridgeLength || engineOf(bridge) {
		return false, nil
	}
	for begun := time.Now(); time.Since(begun) < orphanAfter; {
		select {
		case <-time.After(time.Second): // a look reads what every process is called with
		case <-ctx.Done():
			return false, ctx.Err()
		}
		if engineOf(bridge) {
			return false, nil
		}
	}
	nowhere, err := os.MkdirTemp("", "tallyman-orphan")
	if err != nil {
		return false, fmt.Errorf("take back %s: %w", bridge, err)
	}
	defer os.RemoveAll(nowhere)
	out, err := exec.CommandContext(ctx, "/bin/sh", "-c", stopScript, "sh", nowhere, bridge, nowhere).CombinedOutput()
	if err != nil {
		return false, fmt.Errorf("take back %s: %w: %s", bridge, err, bytes.TrimSpace(out))
	}
	return true, nil
}

// engineOf tells whether a dockerd runs with a bridge.
func engineOf(bridge string) bool {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte("dockerd\x00")) && bytes.Contains(line, []byte("\x00--bridge\x00"+bridge+"\x00")) {
			return true
		}
	}
	return false
}
