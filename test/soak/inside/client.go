package inside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

var errStatus = errors.New("unexpected status")

// Ask returns the state of the process that serves at a socket.
func Ask(ctx context.Context, socket string) (State, error) {
	var s State
	body, err := get(ctx, socket, StatePath)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return s, fmt.Errorf("parse the runtime's state: %w", err)
	}
	return s, nil
}

// Profile returns a profile of that process as pprof reads it, such as "heap" or
// "profile?seconds=30".
func Profile(ctx context.Context, socket, name string) ([]byte, error) {
	return get(ctx, socket, ProfilePath+name)
}

// get keeps no connection, which would be one more of the other process.
func get(ctx context.Context, socket, path string) ([]byte, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://soak"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", socket, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", socket, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", socket, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask %s: %w: %s: %.200s", socket, errStatus, response.Status, body)
	}
	return body, nil
}
