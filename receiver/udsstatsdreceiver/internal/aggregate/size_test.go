package aggregate

import "unsafe"

const contextSize = int(unsafe.Sizeof(context{}))

// This does not compile if bucketsBytes is not the size of a buckets.
var _ [bucketsBytes]struct{} = [unsafe.Sizeof(buckets{})]struct{}{}
