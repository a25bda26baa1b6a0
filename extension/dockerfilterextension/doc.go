// Package dockerfilterextension serves a monitoring subset of the Docker Engine
// API on a socket of its own: read-only, without secrets, and by who is asking.
//
// It does not forward requests. What a client sends is parsed strictly into one
// of a few known operations (internal/request); a new request is built from it
// for the engine (internal/engine); of the answer only the fields of an allow-list
// are written (internal/project). Who asks is what the kernel says of the socket's
// peer (internal/policy). No byte of a client reaches the engine.
package dockerfilterextension
