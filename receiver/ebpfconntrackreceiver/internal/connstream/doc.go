// Package connstream tells of every TCP connection of a host, in all its network
// namespaces, when it ends: who had it, between which addresses, what it
// carried, how long it took and how it ended.
//
// A [Stream] promises one [Record] for each end of each connection whose socket
// is closed while the stream is open, also for a connection of a millisecond
// and for one that was never established. What the kernel has counted for the
// socket is in it, so that bytes are exact. What is lost is counted, and told.
//
// Of an incoming connection the process is that of the listener: of one that
// was there before the stream if [Stream.Seed] tells of it. With Options.IO it is
// the one that sends or receives first. The cgroup is right either way: a
// socket knows it.
//
// With Options.ResponseTimes it also measures how long answers take, and
// [Stream.Responses] tells it of each cgroup, network namespace and server port.
// At the end that answers (incoming) that is from its last receive to its first
// send after that; at the end that waits (outgoing) from its last send to its
// first receive. Both are the times at which the calls return. An answer in many
// pieces counts once, and so does a request in many pieces; each round trip of a
// TLS handshake is an exchange, too. What is never answered is not counted, nor
// is what a server says unasked. The kernel adds each exchange to a histogram,
// whose counts, sum, least and largest time are exact; nothing is sent to user
// space for it.
//
// # What it does not know
//
// A connect(2) that is refused before anything is sent (no route, no permission)
// makes no connection, and no record. Of several sockets that listen at the same
// address (SO_REUSEPORT) or on the same address of different devices
// (SO_BINDTODEVICE) only the last is known. An address and port that a socket gets by
// listen(2), without bind(2), is not learned there. Of a connection that was
// there before the stream only its end is known; that it was incoming is
// concluded from its listener. A side that stops waiting for its FIN to be
// acknowledged by sending a reset, after it has been, is told as closed. The
// bytes of a TCP Fast Open's SYN are not checked by tests.
//
// Response times take a connection for one dialogue: where several requests are
// under way at once (HTTP/2, pipelining), the last ask and the first answer are
// taken for one exchange. Where the other end is on the same machine, it may begin
// to answer before the call that asks has returned: the client's time is short by
// that. Two threads that send the first piece of an answer in the same instant may
// count it twice. An outgoing connection that was there before the stream is not
// measured, an incoming one when its listener is known. MPTCP is not seen by the
// trace points as TCP: it has records, but neither Options.IO nor response times.
// Before 6.5 sendfile(2) and splice(2) do not pass them.
//
// Concurrency: one goroutine reads and calls Options.Handle; all methods may be
// called by any.
//
// Cost: 3.0 µs of BPF per connection with both ends, 4.0 µs with Options.IO, 4.7
// µs with Options.ResponseTimes, and 0.5 µs here per record. An exchange on a
// connection that stays open costs 0.7 µs with Options.IO and 1.1 µs with
// Options.ResponseTimes, both ends together and with the receives that find
// nothing; these programs also run for all other sockets, up to 0.1 µs each time
// (BenchmarkStream, 2 rounds of 50,000 connections or 250,000 exchanges over
// loopback, Linux 6.18, AMD EPYC). A look once a second, some sixty times while
// connections end; 2 MiB of kernel memory for the ring buffer, 10 MiB for
// open connections and listeners;
// response times take 64 KiB, 1 KiB for each key in use, and 0.4 µs for each key
// that is read (BenchmarkResponses).
//
// Kernel needs: those of internal/bpfload; the records 5.10, Options.IO and
// Options.ResponseTimes 6.3 (without, the stream opens and Programs says why).
// test/vm runs it on 5.10, 6.1 and 6.12. Before 5.15 a socket's cgroup is not
// known where net_cls or net_prio are used; then that of the process is told.
//
// Formats: bpf/include/connection.h; buckets: OpenTelemetry data model,
// ExponentialHistogram.
package connstream
