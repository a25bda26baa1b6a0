package machine

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// Keyring is where Debian's package debian-archive-keyring puts the keys that sign its releases.
const Keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// ErrNoMirror says that this host's apt knows no Debian mirror.
var ErrNoMirror = errors.New("no Debian mirror among apt's sources")

// Mirror is the address of the Debian mirror that this host's apt uses.
func Mirror(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages").Output()
	if err != nil {
		return "", fmt.Errorf("ask apt for its mirror: %w", err)
	}
	return parseMirror(string(out))
}

// parseMirror takes one site per line. That of security updates has another last path element.
func parseMirror(sites string) (string, error) {
	for site := range strings.Lines(sites) {
		if site = strings.TrimSpace(site); strings.HasSuffix(site, "/debian") {
			return site, nil
		}
	}
	return "", fmt.Errorf("%w: %q", ErrNoMirror, sites)
}
