// Package web serves the web view of the flight recorder: static files that ask
// the API beside them (package api) for everything they show.
//
// Promise: every file is compressed and hashed once, in [New]; after that an
// answer is a copy of bytes in memory. Pages hold no inline script, no inline
// style and no address of another host, so that the policy default-src 'self'
// holds. Nothing here reads data or needs a right: the page is the same for all.
//
// static/js holds our ES modules, static/vendor the minified files of others
// with their licences and checksums (TestVendor). There is no build step:
// [View.Report] joins the modules that report.html of a capture needs into one
// script, for which modules import and export in the plain forms that join.go
// describes. What can be a pure function is in a module without a view and has a
// test for `node --test` below test/; the stable attributes for tests in a
// browser are listed in static/js/app.mjs.
//
// Concurrency: a [View] never changes.
//
// Cost: about 0.5 MB of memory; a few milliseconds at start.
//
// Smoothness, with 200 containers that all change every second, some twenty rows of
// them in sight, Chromium 156 without a GPU on two cores of an AMD EPYC with a load of
// 5 to 13, four runs: 16.7 ms between frames in the median, 16.8 at the 95th percentile
// and 17 to 33 at the 99th, 117 at most; 0 to 6 tasks above 50 ms in 20 s, the longest
// of 93 ms. The table takes 2 to 5 ms for an update (median; 21 at most). In CPU time
// of the page's main thread an update costs 9 to 12 ms of script, 2 to 10 of style and
// layout, and 41 to 79 ms with painting and 60 frames (the lower ones on a phone's
// screen):
//
//	go test -count=1 -v ./test/browser -run TestFrames
//
// Only what differs is written: rows that are not in sight do not exist, rows that are
// keep their nodes, and a cell is touched when its text is another one. The order of
// the rows is made anew every five seconds, and not while somebody points at them.
//
// test/browser looks at every page in a real browser: console, policy, contrast (WCAG
// AA), width, focus, and what happens while the recorder is away.
//
// Kernel needs: none.
package web
