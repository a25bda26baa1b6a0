// Package cloud is the source of container tags that finds out which virtual
// machine of which cloud the host is.
//
// The firmware's tables (DMI, below /sys) say first whether this is a cloud at
// all and which. Only then is anything sent, and only to that cloud's metadata
// service: 169.254.169.254 may be anybody elsewhere. What DMI itself says for
// certain is told at once; the rest when the service has answered:
//
//	Amazon EC2    session token by PUT, then the instance identity document
//	Google Cloud  five single values
//	Azure         the compute part of the instance, one document
//
// Promise: a request takes a second at most, an attempt 3 s, an answer has 64 KiB
// at most. Values that are not short printable ASCII are left out. No user data,
// no keys and no credentials are asked for. An attempt that comes to nothing is
// made again after 1 s, 2 s, ... at most 1 min, until one succeeds. After that
// nothing is asked again: zone, type and account cannot change while the machine
// runs.
//
// Concurrency: Run belongs to one goroutine; Want does nothing.
//
// Kernel needs: DMI in sysfs (CONFIG_DMIID). Without it the host is of no cloud.
package cloud
