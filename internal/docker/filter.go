package docker

import (
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"strings"
)

// DefaultEndpoint is where an engine listens when nobody says otherwise.
const DefaultEndpoint = "unix:///var/run/docker.sock"

// Filter is what a component offers that serves an engine's socket with less
// than the engine's own rights. Who needs the engine prefers it.
type Filter interface {
	// DockerEndpoint is the socket it serves, "unix:///path".
	DockerEndpoint() string
	// AllowAgentEnv lets this process see the values of environment variables
	// by these names (* stands for any text), besides those it sees anyway. An
	// error names the one that is no name. It is safe for concurrent use and
	// holds for answers given from then on.
	AllowAgentEnv(names []string) error
}

// Place is where an engine is asked.
type Place struct {
	Endpoint string
	// Filter serves it; nil if it is none of this process.
	Filter Filter
	// Bare: it is the engine's own socket, and nobody has asked for that.
	Bare bool
}

// Find decides where the engine is asked: at what was configured, else at the
// first of the candidates that is a Filter, else at fallback, which is bare
// unless there is nothing.
func Find[T any](configured string, candidates iter.Seq[T], fallback string) Place {
	if configured != "" {
		return Place{Endpoint: configured}
	}
	for c := range candidates {
		if f, ok := any(c).(Filter); ok {
			return Place{Endpoint: f.DockerEndpoint(), Filter: f}
		}
	}
	return Place{Endpoint: fallback, Bare: !SocketMissing(fallback)}
}

// CheckEndpoint refuses what is not the address of an engine: unix:// and an
// absolute path, or tcp:// (also http://) and a host.
func CheckEndpoint(endpoint string) error {
	_, _, err := splitEndpoint(endpoint)
	return err
}

// SocketMissing tells that an endpoint is a path where nothing is: there is no
// engine, rather than one that does not answer.
func SocketMissing(endpoint string) bool {
	network, address, err := splitEndpoint(endpoint)
	if err != nil || network != "unix" {
		return false
	}
	_, err = os.Stat(address)
	return os.IsNotExist(err)
}

// splitEndpoint returns what to dial.
func splitEndpoint(endpoint string) (network, address string, err error) {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return "", "", fmt.Errorf("%q is not an address: %w", endpoint, errors.Unwrap(err))
	case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		return "unix", u.Path, nil
	case (u.Scheme == "tcp" || u.Scheme == "http") && u.Port() != "":
		return "tcp", u.Host, nil
	}
	return "", "", fmt.Errorf("%q is neither unix:// with an absolute path nor tcp:// with host and port", endpoint)
}
