/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What user space asks the conntrack program, and what it answers: one slot
 * for each connection. Addresses are as on the wire, IPv4 in the first four
 * bytes and the rest zero; ports are in network byte order. There is no hidden
 * padding, and a slot is a multiple of 8 bytes.
 */
#ifndef TALLYMAN_CONNTRACK_H
#define TALLYMAN_CONNTRACK_H

/* Slots of one run. A run costs as much as ten lookups, so that more would
 * save little; the verifier walks through each step of the loop. */
enum batch { SLOT_COUNT = 128 };

struct tuple {
	__u8 source[16];
	__u8 destination[16];
	__u16 source_port;
	__u16 destination_port;
};

struct slot {
	struct tuple asked;
	__u16 zone;   /* to look in */
	__u8 family;  /* AF_INET, AF_INET6 */
	__u8 protocol; /* IPPROTO_TCP, IPPROTO_UDP; 0 ends the batch */

	__s32 error;  /* as the kernel gives it: -ENOENT is no entry; 0 is found */
	struct tuple original;
	struct tuple reply;
	__u16 found_zone;
	__u16 unused;
};

#endif
