// Package unixsocket listens on stream sockets that have a name in the file system.
//
// Promise: the socket appears under its name with owner and mode as they should be,
// never earlier. A socket that a crash left is replaced; a live one, and what is no
// socket, never. When it ends, its name goes only if it is still its own.
//
// Where anybody may replace files in the folder it refuses.
//
// Concurrency: a Listener is as safe for concurrent use as net.UnixListener; Remove
// may be called by any goroutine.
//
// Kernel needs: none.
package unixsocket
