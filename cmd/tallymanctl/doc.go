// Command tallymanctl is the tool beside the agent. Its command doctor says what
// this host lets the agent do; capture lists, shows, opens, exports and masks
// what the flight recorder has captured, and asks it for a capture now; discover
// says which receivers would start for the containers of this host, and why; health
// says whether the agent works; token prints what the recorder's pages ask for.
//
// Each command has a file of its own, named after it, with a function that
// makes the cobra command; main.go lists them. What a command finds out comes
// from internal/*; here are flags, output and exit codes.
package main
