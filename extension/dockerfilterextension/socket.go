package dockerfilterextension

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// socketPath takes the path out of an endpoint.
func socketPath(endpoint string) (string, error) {
	path, ok := strings.CutPrefix(endpoint, "unix://")
	if !ok || !filepath.IsAbs(path) {
		return "", fmt.Errorf("%q is not unix:// and an absolute path", endpoint)
	}
	return filepath.Clean(path), nil
}

// apply gives the socket its owner and, last, its mode.
func (c SocketConfig) apply(path string) error {
	uid, err := lookUp(c.Owner, func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
	if err != nil {
		return fmt.Errorf("socket.owner: %w", err)
	}
	gid, err := lookUp(c.Group, func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
	if err != nil {
		return fmt.Errorf("socket.group: %w", err)
	}
	if uid != -1 || gid != -1 {
		if err := os.Lchown(path, uid, gid); err != nil {
			return fmt.Errorf("socket.owner, socket.group: %w", err)
		}
	}
	mode, err := parseMode(c.Mode)
	if err != nil {
		return fmt.Errorf("socket.mode: %w", err)
	}
	return os.Chmod(path, mode)
}

// lookUp takes a number as it is, and asks for a name; "" is -1, leave it.
func lookUp(name string, find func(string) (string, error)) (int, error) {
	if name == "" {
		return -1, nil
	}
	if id, err := strconv.Atoi(name); err == nil {
		return id, nil
	}
	text, err := find(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

func parseMode(text string) (os.FileMode, error) {
	mode, err := strconv.ParseUint(text, 8, 32)
	if err != nil || mode > 0o777 {
		return 0, fmt.Errorf("%q is not an octal file mode such as 0660", text)
	}
	return os.FileMode(mode), nil
}
