package inside

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"time"
)

const (
	// SocketEnv names the Unix socket to serve at. Nothing is served without it.
	SocketEnv = "TALLYMAN_SOAK_SOCKET"
	// LeakEnv says what to leak with each request for the state: memory, goroutines
	// or descriptors.
	LeakEnv = "TALLYMAN_SOAK_LEAK"

	// StatePath answers with a [State] as JSON, ProfilePath with the usual profiles
	// of net/http/pprof.
	StatePath, ProfilePath = "/state", "/debug/pprof/"

	// headerWithin is for whoever asks on this host's own socket.
	headerWithin = 10 * time.Second
)

// Start serves until the process ends, if SocketEnv is set. It returns when the
// socket can be asked.
func Start() error {
	path := os.Getenv(SocketEnv)
	if path == "" {
		return nil
	}
	l, err := newLeak(os.Getenv(LeakEnv))
	if err != nil {
		return err
	}
	// One that a killed process has left.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("serve the runtime's state: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("serve the runtime's state: %w", err)
	}
	server := &http.Server{Handler: handler(l), ReadHeaderTimeout: headerWithin}
	go func() { _ = server.Serve(listener) }() // until the process ends
	return nil
}

func handler(l *leak) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(StatePath, func(w http.ResponseWriter, _ *http.Request) {
		if err := l.grow(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(Read()) // who asked has gone
	})
	mux.HandleFunc(ProfilePath, pprof.Index)
	mux.HandleFunc(ProfilePath+"profile", pprof.Profile)
	mux.HandleFunc(ProfilePath+"trace", pprof.Trace)
	return mux
}
