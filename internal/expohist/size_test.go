package expohist

import "unsafe"

// This does not compile if bucketsBytes is not the size of a buckets.
var _ [bucketsBytes]struct{} = [unsafe.Sizeof(buckets{})]struct{}{}
