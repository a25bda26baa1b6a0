// Package report renders a capture as one HTML page that needs nothing else: no
// server, no other file, no network.
//
// The page is whole without a script: verdict, time line, plots (drawn here as
// SVG), processes and connections. The data stand in it as JSON too, in the
// element with the id "capture", for the script of the web view, which is put
// in where there is one ([Assets]) and may draw what can be zoomed.
//
// Everything that comes from outside goes through html/template; the page's own
// policy (CSP) forbids to load or to send anything.
//
// Concurrency: pure functions.
//
// Kernel needs: none.
package report
