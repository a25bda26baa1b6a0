// Package host is the source of container tags that says which host this is:
//
//	host.name       the name of this machine, or as configured
//	host.id         machine-id, else the firmware's product UUID
//	host.arch       amd64, arm64, ...
//	os.type         linux
//	os.description  PRETTY_NAME of os-release
//	os.version      VERSION_ID of os-release
//
// Promise: what cannot be read is left out, never guessed. Inside a container
// the kernel names the container where the host is asked for (its UTS namespace);
// the kernel's name is used only if that namespace is the host's, and else
// /etc/hostname below the host's root. Files below another root are opened as if
// that root were "/", so that links there do not lead to this container's files.
//
// Concurrency: Run belongs to one goroutine; Read may be called by any.
//
// Cost: six small files each minute.
//
// Kernel needs: none; openat2 (Linux 5.6) to follow absolute links below
// another root.
package host
