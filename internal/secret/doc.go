// Package secret tells which texts look like a secret: what may never be on its
// way out of a host, whoever has asked for it.
//
// Promise: pure functions, linear in the length of the text, without
// allocations. [Certain] has no false alarms that are known; [Likely] prefers one
// to a leak. Of keys, [Name] tells of those that say it in full (password,
// token), [SensitiveName] also of short words (pass, auth, key).
//
// Kernel needs: none.
package secret
