package ebpfconntrackreceiver

import (
	"errors"
	"sync"

	"go.opentelemetry.io/collector/receiver"
)

// shared are the servers of one factory, by configuration: the Collector makes a
// receiver for each signal, with the same *Config.
type shared struct {
	mu      sync.Mutex // guards what follows
	servers map[*Config]*holding
}

// holding is the server of one configuration, how many receivers were made for it
// that are not gone yet, and how many of them run.
type holding struct {
	shared  *shared
	server  *server
	health  *health
	made    int
	started int
}

// acquire is called for each receiver that is made, and leave when it goes.
func (s *shared) acquire(cfg *Config, set receiver.Settings) *holding {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.servers[cfg]
	if h == nil {
		h = &holding{shared: s, server: newServer(cfg, set.Logger)}
		s.servers[cfg] = h
	}
	h.made++
	return h
}

// start starts the server for the first of its receivers. After an error it may be
// called again.
func (h *holding) start(set receiver.Settings) (*server, error) {
	h.shared.mu.Lock()
	defer h.shared.mu.Unlock()
	if h.started == 0 {
		if err := h.open(set); err != nil {
			h.renew()
			return nil, err
		}
	}
	h.started++
	return h.server, nil
}

func (h *holding) open(set receiver.Settings) error {
	if err := h.server.start(); err != nil {
		return err
	}
	var err error
	if h.health, err = newHealth(h.server, set); err != nil {
		return errors.Join(err, h.server.close())
	}
	return nil
}

// renew gives a server back that has ended, and puts another one in its place: one
// that ended does not start again.
func (h *holding) renew() {
	old := h.server
	old.release()
	h.server = newServer(old.cfg, old.log)
	h.server.adds = old.adds
	if old.ended != nil {
		h.server.ended = newEndings(old.cfg)
	}
}

// stop ends the watching for the first of its receivers that goes. What is left is
// for each to hand on; done gives the rest back.
func (h *holding) stop() error {
	h.shared.mu.Lock()
	defer h.shared.mu.Unlock()
	if h.health != nil {
		h.health.stop() // it asks the kernel
		h.health = nil
	}
	return h.server.close()
}

// done is called by each that was started, when it has handed on what was left.
func (h *holding) done() {
	h.shared.mu.Lock()
	defer h.shared.mu.Unlock()
	h.started--
	if h.started == 0 {
		h.renew()
	}
}

// leave is called once by each that was made, after done if it was started.
func (h *holding) leave() {
	h.shared.mu.Lock()
	defer h.shared.mu.Unlock()
	h.made--
	if h.made == 0 {
		delete(h.shared.servers, h.server.cfg)
	}
}
