// Package secret tells which texts look like a secret: what may never be on its
// way out of a host, whoever has asked for it.
//
// Promise: pure functions over bytes, linear in the length of the text, without
// allocations. [Certain] has no false alarms that are known; [Likely] prefers one
// to a leak.
//
// Kernel needs: none.
package secret
