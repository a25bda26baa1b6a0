// Package ownthread runs code that changes what belongs to a thread: its
// namespaces, its capabilities. Nobody else may use such a thread afterwards.
package ownthread
