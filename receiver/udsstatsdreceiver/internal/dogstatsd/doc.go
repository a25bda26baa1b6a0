// Package dogstatsd reads the DogStatsD protocol, versions 1.0 to 1.6: packets
// into lines, lines into metrics, events and service checks, and streams into
// packets.
//
// A [Parser] takes packets and calls back once for each line that is not empty.
// What it hands out points into the packet or into its own memory and is valid
// until the next line. It allocates nothing once its memory has grown to the
// longest packed line, except for values in an exotic notation that are not
// numbers or too large for one. [Frames] cuts a stream into packets.
//
//	packet = line *("\n" line)             the last newline may be missing
//	line   = text ["\r"]                   an empty line is no line
//	metric = name ":" value *(":" value) "|" type *("|" field)
//	event  = "_e{" titleBytes "," textBytes "}:" title "|" text *("|" field)
//	check  = "_sc|" name "|" status *("|" field)
//	stream = *(length packet)              length: 4 bytes, little-endian
//
// https://docs.datadoghq.com/extend/dogstatsd/datagram_shell describes the
// lines. What that page leaves open follows what the Datadog Agent accepts, and
// differs in these points on purpose:
//
//   - A rate that is NaN or outside (0, 1] becomes 1.
//   - NaN and infinite values are dropped.
//   - The last line of a truncated packet is dropped, not guessed.
//   - A timestamp on anything but a counter or gauge drops the line here.
//   - Names, tags and lines have a largest size: [MaxName], [MaxTags], [MaxLine].
//   - In the message of a service check, backslash-n and m\: are undone.
//   - A frame of length 0 ends its stream.
//
// Each of them, and each thing that cannot be read, is counted with a [Reason].
// A bad line never spoils its neighbours. Timestamps in the future are not
// judged here.
//
// Text is handed out as sent. [Clean] makes it valid where it is kept, which
// happens once per context and not once per line.
//
// Parsers and Frames belong to one goroutine at a time; the functions are safe
// for concurrent use.
package dogstatsd
