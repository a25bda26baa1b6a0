// Package gates sets the Collector's feature gates as Tallyman's distributions want
// them. Gates are flags and not configuration, so that a configuration file cannot ask
// for them: main calls this package before it reads flags, and --feature-gates=-NAME
// takes a gate back.
//
// Kernel needs: none.
package gates
