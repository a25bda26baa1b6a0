// Package programpages gives pages of the running program's own file back to the kernel
// that only its start has needed.
//
// A Go program of a thousand packages runs an init in most of them, all over its file, and
// the kernel maps 16 pages around each one that is touched. What is mapped counts as
// resident (RssFile of /proc/PID/status) until the kernel needs the memory, also if it
// is never looked at again. [Release] takes the whole file out of the page tables:
// madvise(2) with MADV_DONTNEED. What is used comes back by itself, each time as a minor
// fault, because the page cache still has it. Nothing is lost: these pages are the file's,
// and the kernel may take them at any time without being asked.
//
// Only mappings of the program's file are meant that are private, not writable, and of which
// no page differs from the file: data are never touched, nor code that a debugger or a uprobe
// has changed.
//
// Concurrency: [Release] may be called at any time, by several at once.
//
// Cost: the kernel goes through the page tables of the process for each of two reads of
// smaps, some milliseconds; then the faults, some 800 in the agent.
//
// Kernel needs: none beyond /proc. Memory that is locked (mlockall) is refused with EINVAL.
package programpages
