// Package settings is the configuration of the receiver discovery, for the receiver
// itself and for who says what it would do.
//
// [Settings.Check] is all that can be said of it without a distribution;
// [CheckRules] is what can be said of its rules with one: with such a mistake the
// agent does not start, whatever containers come. Errors begin with the key.
//
// All functions may be called from any goroutine.
//
// Kernel needs: none.
package settings
