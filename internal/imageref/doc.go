// Package imageref takes references to images apart.
//
// Promise: a name stays as it was written, nothing is completed. Pure functions.
//
// Kernel needs: none.
package imageref
