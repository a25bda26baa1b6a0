// Package fetch asks small HTTP services that are close by: an agent on this
// host, the metadata service of a cloud.
//
// Promise: a request ends within its time, the reading of the answer included.
// No proxy is used, whatever the environment says: link-local services must not
// be asked through one. Redirects are not followed, so that nobody can send the
// agent elsewhere. An answer larger than the limit is an error, and no more than
// the limit is held. No connection outlives its request.
//
// A [Client] may be used by any number of goroutines.
//
// Cost: one TCP connection for each request.
//
// Kernel needs: none.
package fetch
