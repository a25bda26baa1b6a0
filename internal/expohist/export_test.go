package expohist

// What tests need to see, and nobody else.

// BucketOf is bucketOf.
func BucketOf(v float64) int32 { return bucketOf(v) }
