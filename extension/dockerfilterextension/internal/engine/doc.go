// Package engine asks the Docker engine behind the filter: requests of the
// filter's own making, and answers that are exactly of the expected kind.
//
// Promise: an answer that is not what was asked for (another status, a switch
// of protocols, an encoding, another content type, a length that cannot be
// checked) is [ErrUnexpected] and none of it is handed out. A body that the
// engine cuts off ends with an error, never with io.EOF. Nothing is ever
// followed: no redirect, no proxy, no upgrade. The Unix socket is dialled by
// its path each time, so an engine that was restarted is found again, and its
// API version is asked anew.
//
// [Engine.Do] asks once. [Engine.Shared] lets identical requests that come
// within 100 ms share one answer. [Engine.Subscribe] shares one stream of
// events. [Engine.Catalog] knows the containers by id, name and prefix.
//
// Concurrency: everything may be called from any goroutine. [Engine.Close]
// ends what is under way and waits for the package's own goroutines.
//
// Cost, as upper bounds: 16 requests at once with 64 that wait, 512 streams,
// 32 MiB of shared answers, 4 MiB of events no matter how many listen, 64 MiB
// of catalog. Each constant below says why it has its value.
package engine
