// Package vectors has the test vectors of the filter: requests, and what the
// answer is. It is for tests; the tables are embedded, so that every package's
// tests find them.
package vectors
