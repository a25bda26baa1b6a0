// Package eventstore keeps events (log records, and spans as short events) at
// full detail in append-only segment files.
//
// It promises:
//   - What Append took is readable at once: from memory until its frame is
//     written, from the file afterwards. A frame is written after
//     Options.FrameEvery or 500 events, so a killed process loses at most
//     that, and Recovery tells where the events end. Segments reach the disk
//     (fsync) when they are closed; a power cut can cost the open one.
//   - Append never waits for a reader and never fails: what cannot be kept is
//     counted with a reason. While the disk takes nothing, the newest frames
//     stay in memory and are written once it does.
//   - The disk budget holds: the oldest segment goes first. While a segment is
//     being merged, its old and its new form exist together.
//   - Damage costs the damaged frame (or, in a segment without a footer, what
//     comes after it), never the start.
//
// Time is that of the events: the clock may jump in both directions. Files are
// ordered by number, not by time, and Scan merges frames by the times in their
// headers. Age removes two segments in ten minutes at most, so that a jump
// forth does not wipe the history at once.
//
// The clocks of applications are not trusted. A record whose own time is more
// than an hour before its arrival, or two minutes after, is found under its
// arrival: Append sets its observed_time_unix_nano to that, and what reads records
// takes it where the two are so far apart. The record's own time is kept.
//
// What one request has in common is stored in common: a resource is written
// once per frame however many scopes it has, so that no frame is larger than what
// came. A frame that no reader would take is not written, and counted.
//
// All methods are safe for concurrent use. Open starts one goroutine, which
// Close ends. One process may have a folder open for writing; any number may
// read it with OpenDir.
//
// # Cost
//
// Measured with the events of the package's benchmark (AMD EPYC, 2 cores, by CPU
// time, the least of seven runs beside other work):
//   - From Append to the merged frame, garbage collection included, an event
//     costs 2.8 us at 50 events a second and 2.3 us at 1,000 with GOGC=100, and
//     2.8 and 2.6 us with GOGC=50. It takes 31 bytes on disk once it is merged, 36
//     before.
//   - One container of 200 is found among a million events in 50 ms if it has
//     few, in 150 ms if it has 31,700. The newest 500 take 8 ms, ten minutes
//     (30,000 events) 80 ms, all of them 2.9 s.
//   - A folder of a million events opens in 2 ms after a clean end.
//   - Memory: the frame that is being filled (1 MiB at most), 4 MiB of frames
//     while the disk takes none, 7 MB during a merge, and during a scan, beside
//     a frame, the events of the frames that overlap in time: some 10 MB, and
//     32 MiB or 40,000 events at most. A scan that would need more of them reads
//     frames again; only clocks that jump, or a folder made to do so, bring that.
//
// # Format
//
// A folder holds NNNNNNNN.tev (closed) and NNNNNNNN.tev.open (still written,
// or left by a killed process). All numbers are little-endian, all checksums
// CRC-32C.
//
//	segment = file header, frame..., [footer]
//
//	file header (16 bytes)
//	   0  4  "TMEV"
//	   4  2  format version, now 1
//	   6  2  zero
//	   8  8  when it was created, Unix nanoseconds
//
//	frame = frame header, payload
//
//	frame header (84 bytes)
//	   0  4  "TMEF"
//	   4  2  frame kind: 1 = events; readers skip other kinds
//	   6  2  zero
//	   8  4  length of the payload
//	  12  4  checksum of the payload
//	  16  4  length of the payload once decompressed
//	  20  4  events in it
//	  24  8  earliest event, Unix nanoseconds
//	  32  8  latest event
//	  40  8  event names: bit FNV-1a-64(name) mod 64 is set for each
//	  48 32  Bloom filter of the container ids: bits h mod 256 and
//	         (h >> 32) mod 256 for h = FNV-1a-64(id); an event of no container
//	         has the empty id
//	  80  4  checksum of the 80 bytes before
//
//	payload of kind 1 = zstd(OTLP ExportLogsServiceRequest), 16 MiB at most
//	once decompressed; equal resources share a ResourceLogs, and equal scopes
//	within it a ScopeLogs
//
//	time of an event = time_unix_nano, or observed_time_unix_nano if the former
//	is zero, or more than 2 min after or 1 h before the latter if that is not
//	zero
//
//	footer = "TMEI", a copy of every frame header, trailer
//
//	trailer (20 bytes)
//	   0  4  number of frames
//	   4  8  when the segment was closed, Unix nanoseconds
//	  12  4  checksum of the copies and the 12 bytes before
//	  16  4  "TMEX"
//
// A closed segment opens by reading its footer. Without one the frames are
// walked, up to the first that its checksums refute.
//
// Closing a segment rewrites it: runs of 20,000 events are sorted by container
// and cut into frames of 5,000. A frame then holds few containers, so that the
// Bloom filter can exclude it, and like stands beside like, which compresses
// better.
package eventstore
