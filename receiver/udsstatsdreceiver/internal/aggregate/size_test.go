package aggregate

import "unsafe"

const contextSize = int(unsafe.Sizeof(context{}))
