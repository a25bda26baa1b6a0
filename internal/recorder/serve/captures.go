package serve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/capture"
)

// Captures serves what an engine has made and is making.
func Captures(e *capture.Engine) api.Captures {
	return &captures{engine: e, shelf: e.Shelf(), now: time.Now}
}

type captures struct {
	engine *capture.Engine
	shelf  *capture.Shelf
	now    func() time.Time
	// edit is held by Delete and Pin, so that what is pinned meanwhile is not deleted.
	edit sync.Mutex

	mu   sync.Mutex
	list captureList
}

// List implements [api.Captures].
func (c *captures) List() []api.Capture {
	list, _ := c.fresh()
	return list
}

// Version implements [api.Captures].
func (c *captures) Version() uint64 {
	_, version := c.fresh()
	return version
}

// fresh returns the list as it is now. Nobody changes what it holds.
func (c *captures) fresh() ([]api.Capture, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.list.refresh(c)
}

// Get implements [api.Captures].
func (c *captures) Get(id string) (api.Capture, bool) {
	for _, each := range c.List() {
		if each.ID == id {
			return each, true
		}
	}
	return api.Capture{}, false
}

// Start implements [api.Captures].
func (c *captures) Start(ctx context.Context, r api.CaptureRequest) (api.Capture, error) {
	id, err := c.engine.Manual(ctx, capture.Request{
		Reason: r.Reason, Containers: r.Containers, Host: r.Scope == "host", From: r.From, To: r.To,
	})
	if err != nil {
		return api.Capture{}, captureError(err)
	}
	if made, ok := c.Get(id); ok {
		return made, nil
	}
	return api.Capture{}, told{fmt.Errorf("make capture: %s had to go at once", id), api.ErrBusy}
}

// Open implements [api.Captures].
func (c *captures) Open(id string) (api.Bundle, error) {
	path, err := c.find(id)
	if err != nil {
		return api.Bundle{}, err
	}
	file, err := os.Open(path)
	if err != nil {
		return api.Bundle{}, captureError(fmt.Errorf("open capture: %w", err))
	}
	info, err := file.Stat()
	if err != nil {
		return api.Bundle{}, captureError(errors.Join(fmt.Errorf("open capture: %w", err), file.Close()))
	}
	// A capture is never changed in place: a new file has another time.
	tag := strconv.FormatInt(info.ModTime().UnixNano(), 36) + "-" + strconv.FormatInt(info.Size(), 36)
	return api.Bundle{ReadSeekCloser: file, Tag: tag, ModTime: info.ModTime()}, nil
}

// find is the path of a capture that is complete.
func (c *captures) find(id string) (string, error) {
	path, err := c.shelf.Path(id)
	if err == nil {
		return path, nil
	}
	for _, u := range c.engine.Unfinished() {
		if u.ID == id {
			return "", told{fmt.Errorf("capture %s is not cut: it is %s", id, u.Phase), api.ErrConflict}
		}
	}
	return "", captureError(err)
}

// deleteWithin bounds the wait for the engine, which may be at the disk.
const deleteWithin = 10 * time.Second

// Delete implements [api.Captures]. One that could not be cut goes with all that was
// kept for it.
func (c *captures) Delete(id string) error {
	c.edit.Lock()
	defer c.edit.Unlock()
	if _, err := c.shelf.Path(id); err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), deleteWithin)
		defer cancel()
		return captureError(c.engine.Drop(ctx, id))
	}
	if found, ok := c.Get(id); ok && found.Pinned {
		return told{fmt.Errorf("delete capture %s: it is pinned", id), api.ErrConflict}
	}
	err := c.shelf.Delete(id)
	c.forget()
	return captureError(err)
}

// Pin implements [api.Captures].
func (c *captures) Pin(id string, pinned bool) (api.Capture, error) {
	c.edit.Lock()
	defer c.edit.Unlock()
	if _, err := c.find(id); err != nil {
		return api.Capture{}, err
	}
	if err := c.shelf.Pin(id, pinned); err != nil {
		return api.Capture{}, captureError(err)
	}
	c.forget()
	found, ok := c.Get(id)
	if !ok {
		return api.Capture{}, captureError(fmt.Errorf("pin capture %s: %w", id, capture.ErrNoCapture))
	}
	return found, nil
}

// forget makes the next list a new one.
func (c *captures) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list.read = false
}

// told is an error with what it means to a client.
type told struct {
	error
	means error
}

// Unwrap makes both testable.
func (t told) Unwrap() []error { return []error{t.error, t.means} }

// captureError says what an error of the engine or the shelf means. What it does not
// know is an internal one. Who asks may be on another host: files are named without
// their folders.
func captureError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, capture.ErrNoCapture), errors.Is(err, capture.ErrUnknown):
		return told{err, api.ErrNotFound}
	case errors.Is(err, capture.ErrWindow), errors.Is(err, capture.ErrContainers), errors.Is(err, capture.ErrAmbiguous):
		return told{err, api.ErrInvalid}
	case errors.Is(err, capture.ErrUnfinished):
		return told{err, api.ErrConflict}
	case errors.Is(err, capture.ErrBusy), errors.Is(err, capture.ErrClosed):
		return told{err, api.ErrBusy}
	case errors.Is(err, capture.ErrPins):
		return told{err, api.ErrFull}
	case capture.IsFull(err):
		return api.ErrFull
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return errors.New(capture.Text(err))
}
