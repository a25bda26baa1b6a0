// Package load makes up what the clients of the end-to-end tests send. One seed
// always gives the same metrics, events and checks, so that a test can work out
// by itself what must arrive.
//
// Concurrency: there is no state, so all of it may be called from anywhere.
//
// Kernel needs: none.
package load
