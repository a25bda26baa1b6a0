package metricstore

import (
	"errors"
	"sync"
)

// errReopening is what a query gets in the seconds in which the store moves to
// another clock, and after Close.
var errReopening = errors.New("metric store is closed or being reopened")

// handle lends something that must not be closed while it is in use: closing a
// TSDB unmaps what queries read.
type handle[T any] struct {
	mu    sync.Mutex
	value *T
	users int
	idle  chan struct{} // made by take, closed when the last user is gone
}

func (h *handle[T]) put(value *T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.value = value
}

// acquire returns the value, or nil when there is none. Not nil, it is to be
// released once.
func (h *handle[T]) acquire() *T {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.value != nil {
		h.users++
	}
	return h.value
}

func (h *handle[T]) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users--
	if h.users == 0 && h.idle != nil {
		close(h.idle)
		h.idle = nil
	}
}

// abandon makes the value unavailable without waiting for its users.
func (h *handle[T]) abandon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.value = nil
}

// take makes the value unavailable, waits for its users and returns it.
func (h *handle[T]) take() *T {
	h.mu.Lock()
	value := h.value
	h.value = nil
	var idle chan struct{}
	if h.users > 0 {
		h.idle = make(chan struct{})
		idle = h.idle
	}
	h.mu.Unlock()
	if idle != nil {
		<-idle
	}
	return value
}
