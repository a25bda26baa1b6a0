// Package serve puts the recorder's stores behind the interfaces that package api
// serves, so that an agent and an opened capture are shown by the same code: a
// constructor for each source ([Entities], [Live], [Events], [Metadata],
// [Captures]), and [OpenCapture] for the unpacked members of a capture.
//
// Promise: nothing is kept here but what makes asking cheap. What a store does not
// know is absent in the answer. A capture that lacks members is served as far as it
// goes, and [api.Status] says what is missing.
//
// Concurrency: all sources are safe for concurrent use, but for one thing: the rows
// of a live delta are valid until the next one is asked for. A feed of events has
// one goroutine, which its Close ends and waits for.
//
// Cost: a live delta copies what has changed and allocates nothing once its buffers
// have grown. The list of captures is read when their folder has changed, not when
// it is asked for.
//
// Kernel needs: none.
package serve
