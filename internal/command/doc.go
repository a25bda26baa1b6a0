// Package command tells which program a command line runs, without its arguments,
// which may hold secrets.
//
// Promise: pure functions, linear in the length of the text. What can be no program
// is left out rather than shown.
//
// Kernel needs: none.
package command
