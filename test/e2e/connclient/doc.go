// Command connclient is what the containers and test hosts of the end-to-end tests
// run to make TCP connections whose bytes are known:
//
//	connclient serve  answers each request with as many bytes as it asks for
//	connclient ask    makes connections, one request on each, and ends
//	connclient hold   keeps one connection: a request at once and with each
//	                  SIGUSR1, until it is told to end (SIGTERM)
//
// Every request of ask is of another length and asks for another length, so that
// a connection is known by its bytes alone. Of every second one it is the server
// that closes first. At their ends all commands print one [report] per connection
// that they had, as lines of JSON. A connection that cannot be made is no error:
// its report has the reason.
//
// It is linked statically, so that it runs in an image that has nothing but
// busybox.
//
// Kernel needs: none.
package main
