/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The ring buffer that records go through, and the count of those that found
 * it full.
 */
#ifndef TALLYMAN_RING_H
#define TALLYMAN_RING_H

#include "kernel.h"

/* The reader is woken when this many bytes wait, and by the first record for
 * wake_pause (ns) after a wake-up. From then on it looks by itself, until it has
 * found nothing for longer than that. A wake-up for each record costs five times
 * what the record does. */
const volatile __u64 wake_at = 512 << 10;
const volatile __u64 wake_pause = 80 * 1000 * 1000;

/* When the reader was woken last (bpf_ktime_get_boot_ns). That two processors take
 * it at once costs one wake-up. */
__u64 woken_at = 0;

/* 4 MiB hold about 15,000 records: half a second of a fork bomb. They are mapped twice
 * in a row, so the kernel counts 8 of the reader's. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DROP_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

static __always_inline void *reserve(__u64 size, __u32 drop)
{
	void *record = bpf_ringbuf_reserve(&records, size, 0);

	if (!record) {
		__u64 *count = bpf_map_lookup_elem(&drops, &drop);

		if (count)
			*count += 1;
	}
	return record;
}

/* now is the time of the record. */
static __always_inline void submit(void *record, __u64 now)
{
	bool wake = now - woken_at >= wake_pause || bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA) >= wake_at;

	if (wake)
		woken_at = now;
	bpf_ringbuf_submit(record, wake ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

#endif
