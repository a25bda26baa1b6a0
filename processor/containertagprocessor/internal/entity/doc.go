// Package entity holds what sources know of containers, pods and the host, and
// the two interfaces between sources and the store.
//
// Promise: values of these types are never changed once they were handed on, so
// readers need no lock. A field that a source does not know is empty.
//
// Kernel needs: none.
package entity
