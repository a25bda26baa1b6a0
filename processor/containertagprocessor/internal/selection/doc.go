// Package selection tells whose data are wanted: the include and exclude rules
// of the processor.
//
// Promise: pure functions. A Selector does not change and may be used by any
// number of goroutines. Matching allocates only for images with several names.
//
// Kernel needs: none.
package selection
