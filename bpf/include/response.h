/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How long answers take, as the process sees it that answers (an incoming
 * connection: from its last receive to its first send after that) or that waits
 * for the answer (an outgoing one: from its last send to its first receive).
 * Each such exchange is counted here, and nothing of it sent to user space.
 */
#ifndef TALLYMAN_RESPONSE_H
#define TALLYMAN_RESPONSE_H

#include "connection.h"
#include "kernel.h"

enum { BPF_MAP_TYPE_HASH = 1, BPF_F_NO_PREALLOC = 1 }; /* include/uapi/linux/bpf.h */

/* Without it the maps are left alone, and the verifier takes the code out. */
const volatile bool response_times = 0;

/* An entry takes about 1 kB, and is made when it is needed: most hosts have a
 * few dozen containers with a few ports each. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct response_key);
	__type(value, struct histogram);
} responses SEC(".maps");

/* What a key begins with: too large for the stack. */
static const struct histogram no_responses = {.min = ~0ULL};

/* Nanoseconds. Ends are those of the last octave: 2^5 to 2^6 s. */
#define OCTAVE_FIRST (1000000000ULL << (RESPONSE_HIGH - 1))
#define OCTAVE_LAST (1000000000ULL << RESPONSE_HIGH)

/* The borders inside that octave: times 2^(1/4), 2^(2/4), 2^(3/4), rounded down.
 * These numbers are irrational, so that no whole number of nanoseconds is
 * compared wrongly. */
#define QUARTER_1 38054627680ULL
#define QUARTER_2 45254833995ULL
#define QUARTER_3 53817370576ULL

#define shift_by(n)                              \
	if (scaled << (n) <= OCTAVE_LAST) {      \
		scaled <<= (n);                  \
		octave -= (n);                   \
	}

/* bucket_of returns the place in histogram.buckets of a time in ns. A time is
 * doubled until it is in the last octave, which is exact: a time that is a power
 * of two of seconds is the upper end of its bucket. What is too short or too long
 * is in the first or the last bucket. */
static __always_inline __u32 bucket_of(__u64 ns)
{
	__u64 scaled = ns;
	__s32 octave = RESPONSE_HIGH - 1;

	if (ns > OCTAVE_LAST)
		return RESPONSE_BUCKETS - 1;
	shift_by(16);
	shift_by(8);
	shift_by(4);
	shift_by(2);
	shift_by(1);
	if (octave < -RESPONSE_LOW || scaled <= OCTAVE_FIRST)
		return 0;
	return (octave + RESPONSE_LOW) * RESPONSE_PER_OCTAVE + (scaled > QUARTER_1) + (scaled > QUARTER_2) +
	       (scaled > QUARTER_3);
}

/* add_response counts an exchange that took so many ns; false if there is no room
 * for its key. Two processors that find a new least or largest time in the same
 * nanoseconds may keep the wrong one of the two; nothing else can be lost. */
static __always_inline bool add_response(struct response_key *key, __u64 ns, __u64 now)
{
	struct histogram *h = bpf_map_lookup_elem(&responses, key);
	__u32 bucket = bucket_of(ns);

	if (!h) {
		/* Another processor may be first: then its entry is found. */
		bpf_map_update_elem(&responses, key, &no_responses, BPF_NOEXIST);
		h = bpf_map_lookup_elem(&responses, key);
		if (!h)
			return 0;
	}
	if (!h->start)
		h->start = now - ns;
	if (h->used < now)
		h->used = now;
	if (h->min > ns)
		h->min = ns;
	if (h->max < ns)
		h->max = ns;
	__sync_fetch_and_add(&h->sum, ns);
	if (bucket < RESPONSE_BUCKETS) /* for the verifier */
		__sync_fetch_and_add(&h->buckets[bucket], 1);
	return 1;
}

#endif
