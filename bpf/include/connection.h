/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the connection programs send to user space through the ring buffer: one
 * record for each end of a TCP connection, when that end is closed. Times are
 * ns since boot (CLOCK_BOOTTIME). Byte order and alignment are the machine's;
 * there is no hidden padding.
 */
#ifndef TALLYMAN_CONNECTION_H
#define TALLYMAN_CONNECTION_H

#include "kernel.h"

/* Who asked for the connection. */
enum direction {
	UNKNOWN, /* it was there before the programs, or is forgotten */
	OUTGOING,
	INCOMING,
};

/* What was not told, or not in full. */
enum drop {
	DROP_RING,     /* records that found the ring buffer full */
	DROP_MAP,      /* beginnings and listeners that found no room */
	DROP_HALFOPEN, /* never established by the other side: no record, by intent */
	DROP_UNSEEN,   /* records without a beginning */
	DROP_RESPONSE, /* exchanges whose key found no room */
	DROP_COUNT,
};

enum { COMM_SIZE = 16, ADDRESS_SIZE = 16 };

struct record {
	__u64 started;	   /* connect(2), incoming: established; 0: not seen */
	__u64 established; /* 0: never, or not seen */
	__u64 ended;
	__u64 cgroup; /* id in the unified hierarchy */
	__u64 memory; /* of the process: id in the hierarchy of the memory controller */
	__u64 sent, received; /* bytes of payload, each counted once */
	__u64 cookie;	      /* of the socket; 0: nobody has asked for it */
	__u32 netns;	      /* inode */
	__u32 pid;	      /* as the first pid namespace numbers it; 0: not known */
	__u32 rtt;	      /* us, smoothed, at the end */
	__u32 retransmits, segments_in, segments_out;
	__u16 local_port, remote_port; /* the machine's byte order */
	__u16 error;		       /* sk_err: an errno, or 0 */
	__u8 family;		       /* of the socket: AF_INET or AF_INET6 */
	__u8 state;		       /* the last one before it was closed */
	__u8 direction;
	__u8 unused[7];
	__u8 local[ADDRESS_SIZE], remote[ADDRESS_SIZE]; /* of AF_INET the first four bytes */
	__u8 comm[COMM_SIZE];
};

/* owner is a process that has a socket. */
struct owner {
	__u64 cgroup, memory; /* ids, as above */
	__u32 pid;
	__u32 exact; /* 1: it was seen to use this socket, not only the listener */
	__u8 comm[COMM_SIZE];
};

/* Listeners are kept by where they listen. A connection's own address comes
 * before the one that stands for all, as in the kernel. */
struct listener_key {
	__u32 netns;
	__u16 port; /* the machine's byte order */
	__u16 family;
	__u8 address[ADDRESS_SIZE];
};

struct listener {
	__u64 socket; /* its address; 0: told by user space */
	struct owner owner;
};

/* Whose answers they are: of whom the process is at this end. */
struct response_key {
	__u64 cgroup, memory; /* ids, as above */
	__u32 netns;	      /* inode */
	__u16 port;	      /* of the server, the machine's byte order */
	__u16 direction;      /* INCOMING: the server's end */
};

/* The buckets of response times are those of an exponential histogram of scale
 * 2, four to the octave, from 2^-20 s (about 1 us) to 2^6 s. */
enum response {
	RESPONSE_LOW = 20,
	RESPONSE_HIGH = 6,
	RESPONSE_PER_OCTAVE = 4,
	RESPONSE_BUCKETS = (RESPONSE_LOW + RESPONSE_HIGH) * RESPONSE_PER_OCTAVE,
};

/* With what the kernel adds to an entry (80 bytes with the key), this fits into
 * the 1,024 bytes that it allocates. Times are ns. */
struct histogram {
	__u64 start; /* when the first exchange began */
	__u64 used;  /* when the last one ended */
	__u64 sum, min, max;
	__u64 buckets[RESPONSE_BUCKETS];
};

#endif
