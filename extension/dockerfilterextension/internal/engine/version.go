package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// maxVersionBody is far more than /version has: 20.10 sends 0.9 KB.
const maxVersionBody = 256 << 10

var errVersion = errors.New("not of the form 1.NN")

// API is the range of versions that the engine speaks.
type API struct {
	// Newest and Oldest are such as "1.41" and "1.12".
	Newest, Oldest string
}

// Pick returns the version to ask with: the wanted one, or the newest that
// both sides know if wanted is "". The error is the one dockerd gives (400).
func (a API) Pick(wanted, limit string) (string, error) {
	newest := a.Newest
	if compareVersions(limit, newest) < 0 {
		newest = limit
	}
	if wanted == "" {
		wanted = newest
	}
	if compareVersions(wanted, newest) > 0 {
		return "", &StatusError{Status: http.StatusBadRequest, Message: fmt.Sprintf(
			"client version %s is too new. Maximum supported API version is %s", wanted, newest)}
	}
	if compareVersions(wanted, a.Oldest) < 0 {
		return "", &StatusError{Status: http.StatusBadRequest, Message: fmt.Sprintf(
			"client version %s is too old. Minimum supported API version is %s, please upgrade your client to a newer version", wanted, a.Oldest)}
	}
	return wanted, nil
}

// API returns the versions that the engine speaks. It asks once in the life of
// the engine: again after a connection was lost.
func (e *Engine) API(ctx context.Context) (API, error) { return e.versions.get(ctx) }

// versions remembers the answer for as long as the engine is surely the same.
type versions struct {
	engine *Engine
	turn   chan struct{} // a lock that a context can stop waiting for; guards what follows
	known  bool
	era    uint64
	api    API
}

func newVersions(e *Engine) *versions { return &versions{engine: e, turn: make(chan struct{}, 1)} }

func (v *versions) get(ctx context.Context) (API, error) {
	select {
	case v.turn <- struct{}{}:
	case <-ctx.Done():
		return API{}, context.Cause(ctx)
	}
	defer func() { <-v.turn }()
	// Taken before asking: what happens meanwhile makes the answer old.
	era := v.engine.dialer.currentEra()
	if v.known && v.era == era {
		return v.api, nil
	}
	api, err := v.engine.negotiate(ctx)
	if err != nil {
		return API{}, fmt.Errorf("negotiate API version: %w", err)
	}
	v.api, v.era, v.known = api, era, true
	return api, nil
}

// negotiate asks without a version, which every engine understands.
func (e *Engine) negotiate(ctx context.Context) (API, error) {
	ping, err := e.ask(ctx, Request{Op: "ping", Method: http.MethodGet, Target: "/_ping", Content: Text})
	if err != nil {
		return API{}, err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(ping.Body, maxVersionBody))
	if err = errors.Join(err, ping.Body.Close()); err != nil {
		return API{}, err
	}
	answer, err := e.ask(ctx, Request{Op: "version", Method: http.MethodGet, Target: "/version", Content: JSON})
	if err != nil {
		return API{}, err
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxVersionBody))
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return API{}, err
	}
	return parseAPI(ping.Header.APIVersion, text)
}

// parseAPI combines the header Api-Version of /_ping with the body of /version:
//
//	{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12",...}
func parseAPI(newest string, text []byte) (API, error) {
	var said struct {
		MinAPIVersion string
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return API{}, fmt.Errorf("parse version: %w: %w", ErrUnexpected, err)
	}
	for _, text := range []string{newest, said.MinAPIVersion} {
		if _, err := parseVersion(text); err != nil {
			return API{}, fmt.Errorf("%w: %w", ErrUnexpected, err)
		}
	}
	return API{Newest: newest, Oldest: said.MinAPIVersion}, nil
}

// parseVersion returns the NN of "1.NN".
func parseVersion(text string) (int, error) {
	minor, ok := strings.CutPrefix(text, "1.")
	if !ok || len(minor) != 2 || strings.Trim(minor, "0123456789") != "" {
		return 0, fmt.Errorf("parse API version %q: %w", text, errVersion)
	}
	return strconv.Atoi(minor)
}

// compareVersions compares like strings.Compare; all versions are 1.NN.
func compareVersions(a, b string) int { return strings.Compare(a, b) }

// path puts the newest version that both sides know before a path.
func (e *Engine) path(ctx context.Context, path string) (string, error) {
	api, err := e.API(ctx)
	if err != nil {
		return "", err
	}
	version, err := api.Pick("", e.o.MaxAPI)
	if err != nil {
		return "", err
	}
	return "/v" + version + path, nil
}
