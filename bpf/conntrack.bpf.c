// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Looks connections up in conntrack, on demand: the program is attached to
 * nothing, user space runs it (BPF_PROG_RUN) over a batch of slots. The kernel
 * looks in the network namespace of the thread that does so.
 *
 * Both tuples are handed out as they are. What they mean is decided in user
 * space, by comparing them: status bits differ between kernels.
 */
#include "include/kernel.h"
#include "include/conntrack.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define __ksym __attribute__((section(".ksyms")))

enum { MAP_TYPE_ARRAY = 2 };	/* include/uapi/linux/bpf.h */
enum { MMAPABLE = 1 << 10 };	/* the same, BPF_F_MMAPABLE */
enum { CURRENT_NETNS = -1 };	/* the same, BPF_F_CURRENT_NETNS */
enum { FAMILY_INET6 = 10 };	/* include/linux/socket.h, AF_INET6 */
enum { BOTH_DIRECTIONS = 3 };	/* nf_conntrack_zones.h, NF_CT_DEFAULT_ZONE_DIR */

/* Not relocated: both are filled here and read by the kernel. A zone can be
 * asked for since 6.11 (net/netfilter/nf_conntrack_bpf.c); before, the last four
 * bytes are not there. */
struct lookup_options {
	__s32 netns;
	__s32 error;
	__u8 protocol;
	__u8 direction;
	__u16 zone;
	__u8 zone_direction;
	__u8 reserved[3];
};
enum { OPTIONS_SIZE_WITHOUT_ZONE = 12 };

enum { EOPNOTSUPP = 95 }; /* include/uapi/asm-generic/errno.h */

struct bpf_sock_tuple {
	union {
		struct {
			__u32 source, destination;
			__u16 source_port, destination_port;
		} ipv4;
		struct {
			__u32 source[4], destination[4];
			__u16 source_port, destination_port;
		} ipv6;
	};
};

struct __sk_buff {
	__u32 len;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

union nf_inet_addr {
	__u32 all[4];
};

union nf_conntrack_man_proto {
	__u16 all;
};

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union nf_conntrack_man_proto u;
};

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			__u16 all;
		} u;
	} dst;
};

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
};

struct nf_conntrack_zone {
	__u16 id;
};

struct nf_conn {
	struct nf_conntrack_zone zone; /* CONFIG_NF_CONNTRACK_ZONES */
	struct nf_conntrack_tuple_hash tuplehash[2];
};

struct bpf_ct_opts {
	__u16 ct_zone_id; /* since 6.11 */
};

#pragma clang attribute pop

extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 tuple__sz,
					 struct lookup_options *opts, __u32 opts__sz) __ksym;
extern void bpf_ct_release(struct nf_conn *ct) __ksym;

/* Shared with user space: copying slots by system calls cost more than looking
 * them up. */
struct {
	__uint(type, MAP_TYPE_ARRAY);
	__uint(map_flags, MMAPABLE);
	__uint(max_entries, SLOT_COUNT);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

/* Makes them known to user space. */
const struct tuple *unused_tuple __attribute__((unused));
const enum batch *unused_batch __attribute__((unused));

/* copy_tuple writes out one of the two tuples of an entry. */
#define copy_tuple(to, from)                                                    \
	({                                                                      \
		read((to).source, (from).src.u3);                               \
		read((to).source_port, (from).src.u.all);                       \
		read((to).destination, (from).dst.u3);                          \
		read((to).destination_port, (from).dst.u.all);                  \
	})

static __always_inline __u32 fill(struct bpf_sock_tuple *t, const struct tuple *asked, bool is_ipv6)
{
	if (is_ipv6) {
		__builtin_memcpy(t->ipv6.source, asked->source, 16);
		__builtin_memcpy(t->ipv6.destination, asked->destination, 16);
		t->ipv6.source_port = asked->source_port;
		t->ipv6.destination_port = asked->destination_port;
		return sizeof(t->ipv6);
	}
	__builtin_memcpy(&t->ipv4.source, asked->source, 4);
	__builtin_memcpy(&t->ipv4.destination, asked->destination, 4);
	t->ipv4.source_port = asked->source_port;
	t->ipv4.destination_port = asked->destination_port;
	return sizeof(t->ipv4);
}

static __always_inline void look_up(struct __sk_buff *skb, struct slot *s)
{
	struct bpf_sock_tuple tuple = {};
	struct lookup_options options = { .netns = CURRENT_NETNS, .protocol = s->protocol };
	__u32 tuple_size = fill(&tuple, &s->asked, s->family == FAMILY_INET6);
	__u32 options_size = OPTIONS_SIZE_WITHOUT_ZONE;

	if (field_exists(((struct bpf_ct_opts *)0)->ct_zone_id)) {
		options.zone = s->zone;
		options.zone_direction = BOTH_DIRECTIONS;
		options_size = sizeof(options);
	} else if (s->zone) {
		s->error = -EOPNOTSUPP;
		return;
	}
	struct nf_conn *ct = bpf_skb_ct_lookup(skb, &tuple, tuple_size, &options, options_size);

	if (!ct) {
		s->error = options.error;
		return;
	}
	s->error = 0;
	s->found_zone = 0;
	if (field_exists(ct->zone))
		read(s->found_zone, ct->zone.id);
	copy_tuple(s->original, ct->tuplehash[0].tuple);
	copy_tuple(s->reply, ct->tuplehash[1].tuple);
	bpf_ct_release(ct);
}

/* A function of its own that is not static is verified once, whatever it is
 * called with: the loop around it would be walked through step by step.
 * It returns whether there was something to do. */
__attribute__((noinline)) int look_up_slot(struct __sk_buff *skb, __u32 key)
{
	struct slot *s = bpf_map_lookup_elem(&slots, &key);

	if (!s || !s->protocol)
		return 0;
	look_up(skb, s);
	return 1;
}

SEC("tc")
int lookup(struct __sk_buff *skb)
{
	for (__u32 i = 0; i < SLOT_COUNT; i++)
		if (!look_up_slot(skb, i))
			break;
	return 0;
}
