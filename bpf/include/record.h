/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What a record says of a socket that is closed. */
#ifndef TALLYMAN_RECORD_H
#define TALLYMAN_RECORD_H

#include "connection.h"
#include "kernel.h"
#include "socket.h"

/* counters are the kernel's own. FIN takes a number in the sequence as if it
 * were a byte, and bytes sent again are in bytes_sent again. */
static __always_inline void counters(struct record *r, struct sock *sk, struct tcp_sock *tp)
{
	__u64 sent = tp->bytes_sent, again = tp->bytes_retrans, received = tp->bytes_received;

	r->sent = sent > again ? sent - again : 0;
	if (received && sk->__sk_common.skc_flags & (1 << SOCK_DONE))
		received--;
	r->received = received;
	r->rtt = tp->srtt_us >> 3; /* kept in eighths */
	r->retransmits = tp->total_retrans;
	r->segments_in = tp->segs_in;
	r->segments_out = tp->segs_out;
}

static __always_inline void addresses(struct record *r, struct sock *sk, __u16 port)
{
	r->netns = sk->__sk_common.skc_net.net->ns.inum;
	r->family = sk->__sk_common.skc_family;
	r->local_port = port; /* skc_num has been given back */
	r->remote_port = __builtin_bswap16(sk->__sk_common.skc_dport);
	if (r->family == AF_INET) {
		*(__u32 *)r->local = sk->__sk_common.skc_rcv_saddr;
		*(__u32 *)r->remote = sk->__sk_common.skc_daddr;
		return;
	}
	read(r->local, sk->__sk_common.skc_v6_rcv_saddr);
	read(r->remote, sk->__sk_common.skc_v6_daddr);
}

static __always_inline void belongs(struct record *r, struct owner *o)
{
	r->pid = o->pid;
	r->memory = o->memory;
	__builtin_memcpy(r->comm, o->comm, sizeof(r->comm));
	if (!r->cgroup)
		r->cgroup = o->cgroup;
}

#endif
