package udsstatsdreceiver

import (
	"errors"
	"sync"

	"go.opentelemetry.io/collector/receiver"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/transport"
)

// shared are the servers of one factory, by configuration: the Collector makes a
// receiver for each signal, with the same *Config.
type shared struct {
	open func() (*transport.Store, error) // the same one each time

	mu      sync.Mutex // guards what follows
	servers map[*Config]*holding
}

// holding is a server and how many receivers have it.
type holding struct {
	shared  *shared
	server  *server
	health  *health
	holders int
	started int
}

func newShared(open func() (*transport.Store, error)) *shared {
	return &shared{open: open, servers: map[*Config]*holding{}}
}

func (s *shared) acquire(cfg *Config, set receiver.Settings) (*holding, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.servers[cfg]
	if h == nil {
		server, err := newServer(cfg, set.Logger)
		if err != nil {
			return nil, err
		}
		h = &holding{shared: s, server: server}
		s.servers[cfg] = h
	}
	h.holders++
	return h, nil
}

// start starts the server for the first of its receivers.
func (h *holding) start(set receiver.Settings) error {
	s := h.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.started == 0 {
		store, err := s.open()
		if err != nil {
			return err
		}
		if err := h.server.start(store); err != nil {
			return err
		}
		if h.health, err = newHealth(h.server, set); err != nil {
			return errors.Join(err, h.server.close())
		}
	}
	h.started++
	return nil
}

// stop ends the server for the first of its receivers that goes: from then on not
// all that is sent could be handed on. What was taken so far is the others' still.
func (h *holding) stop() error {
	s := h.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	h.started--
	if h.started == 0 {
		delete(s.servers, h.server.cfg)
	}
	if h.health != nil {
		h.health.stop() // it asks the sockets
		h.health = nil
	}
	return h.server.close()
}
