// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Both ends of every TCP connection of this kernel, in all network namespaces:
 * one record for each end, when its socket is closed. What the kernel has
 * counted for the socket is exact by then, so nothing is done per packet.
 *
 * The kernel says three things of a socket in the context of the process that
 * has it: that it connects, that it listens, and, where there are trace points
 * for that, that it sends or receives. The rest happens in soft interrupts. So
 * an outgoing connection knows its process; an incoming one has that of its
 * listener until, with luck, it is seen to be used.
 */
#include "include/connection.h"
#include "include/kernel.h"
#include "include/listener.h"
#include "include/owner.h"
#include "include/record.h"
#include "include/response.h"
#include "include/ring.h"
#include "include/socket.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Makes the types known to user space. */
const struct record *unused_record __attribute__((unused));
const enum direction *unused_direction __attribute__((unused));
const enum drop *unused_drop __attribute__((unused));
const enum response *unused_response __attribute__((unused));

/* What is remembered of a connection until it is closed. */
struct connection {
	__u64 started, established;
	/* When the ask was made that waits for its answer; 0: none does. While the
	 * direction is not known: when it was last looked for. */
	__u64 since;
	struct owner owner;
	__u32 direction;
	__u32 unused;
};

/* By the address of the socket: a preallocated hash costs a quarter less than
 * storage in the socket, and cannot be exhausted by anybody. The oldest goes
 * when it is full; its record then comes without a beginning. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct connection);
} connections SEC(".maps");

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&drops, &what);

	if (n)
		*n += 1;
}

static __always_inline void remember(struct sock *sk, struct connection *c, __u64 flags)
{
	__u64 key = (__u64)sk;
	int err = bpf_map_update_elem(&connections, &key, c, flags);

	if (err && err != -EEXIST)
		count(DROP_MAP);
}

static __always_inline void connects(struct sock *sk)
{
	struct connection c = {};

	c.started = bpf_ktime_get_boot_ns();
	c.direction = OUTGOING;
	own(&c.owner);
	remember(sk, &c, BPF_ANY);
}

static __always_inline void establishes(struct sock *sk, int old, __u16 port)
{
	__u64 key = (__u64)sk, now = bpf_ktime_get_boot_ns();
	struct connection *known = bpf_map_lookup_elem(&connections, &key);
	struct connection c = {};
	struct listener *listener;

	/* Also of both sides that connected to each other at the same time. */
	if (known && known->direction == OUTGOING) {
		known->established = now;
		return;
	}
	c.established = now;
	if (old == TCP_SYN_SENT) { /* connect(2) was before the programs */
		c.direction = OUTGOING;
	} else {
		c.direction = INCOMING;
		c.started = now;
		listener = find_listener(sk, port);
		if (listener)
			c.owner = listener->owner;
	}
	remember(sk, &c, BPF_ANY);
}

static __always_inline void closes(struct sock *sk, struct tcp_sock *tp, int old, __u16 port)
{
	__u64 key = (__u64)sk;
	struct connection *known = bpf_map_lookup_elem(&connections, &key);
	struct listener *listener;
	struct record *r;

	if (old == TCP_SYN_RECV && !(known && known->direction == OUTGOING)) {
		count(DROP_HALFOPEN);
		return;
	}
	r = reserve(sizeof(*r), DROP_RING);
	if (r) {
		__builtin_memset(r, 0, sizeof(*r));
		r->ended = bpf_ktime_get_boot_ns();
		r->state = old;
		r->error = sk->sk_err;
		r->cgroup = cgroup_of(sk);
		r->cookie = sk->__sk_common.skc_cookie.counter;
		addresses(r, sk, port);
		counters(r, sk, tp);
		if (known) {
			r->started = known->started;
			r->established = known->established;
			r->direction = known->direction;
			belongs(r, &known->owner);
		}
		if (!r->started && !r->established)
			count(DROP_UNSEEN);
		if (r->direction == UNKNOWN) {
			listener = find_listener(sk, port);
			if (listener) {
				r->direction = INCOMING;
				if (!r->pid)
					belongs(r, &listener->owner);
			}
		}
		submit(r, r->ended);
	}
	if (known)
		bpf_map_delete_elem(&connections, &key);
}

SEC("tp_btf/inet_sock_set_state")
int on_state(__u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	int old = ctx[1], state = ctx[2];
	struct tcp_sock *tp;
	__u16 port;

	if (sk->sk_protocol != IPPROTO_TCP) /* MPTCP, SCTP and DCCP come here, too */
		return 0;
	if (state == TCP_SYN_SENT)
		connects(sk);
	else if (state == TCP_LISTEN && !listens(sk))
		count(DROP_MAP);
	if (state != TCP_ESTABLISHED && (state != TCP_CLOSE || old == TCP_CLOSE))
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp) /* not with this protocol */
		return 0;
	port = __builtin_bswap16(tp->inet_conn.icsk_inet.inet_sport);
	if (state == TCP_ESTABLISHED)
		establishes(sk, old, port);
	else if (old == TCP_LISTEN)
		forgets(sk, port);
	else
		closes(sk, tp, old, port);
	return 0;
}

/* Listeners are told within seconds of the programs' start. */
enum { LOOK_AGAIN = 1000000000 }; /* ns */

/* is_known tells whether it is known which end this is. Of a connection that was
 * there before, its listener says so, once user space has told of it. */
static __always_inline bool is_known(struct sock *sk, struct connection *c, __u64 now)
{
	if (c->direction != UNKNOWN)
		return 1;
	if (now - c->since < LOOK_AGAIN)
		return 0;
	c->since = now;
	if (!find_listener(sk, sk->__sk_common.skc_num))
		return 0;
	c->direction = INCOMING;
	c->since = 0;
	return 1;
}

/* answers measures exchanges. The asker's end asks by sending, and has the answer
 * by receiving; the other end the other way round. Of several asks in a row the
 * last counts, of several answers the first. */
static __always_inline void answers(struct sock *sk, struct connection *c, __u32 asker)
{
	__u64 now = bpf_ktime_get_boot_ns(), since;
	struct response_key key = {};

	if (!is_known(sk, c, now))
		return;
	if (c->direction == asker) {
		c->since = now;
		return;
	}
	since = c->since;
	if (!since)
		return;
	c->since = 0;
	key.cgroup = cgroup_of(sk);
	if (!key.cgroup)
		key.cgroup = c->owner.cgroup;
	key.memory = c->owner.memory;
	key.netns = sk->__sk_common.skc_net.net->ns.inum;
	key.direction = c->direction;
	key.port = key.direction == INCOMING ? sk->__sk_common.skc_num
					     : __builtin_bswap16(sk->__sk_common.skc_dport);
	/* Two threads that ask and have the answer at once may come in any order. */
	if (!add_response(&key, now > since ? now - since : 0, now))
		count(DROP_RESPONSE);
}

/* uses makes who sends or receives the owner of an incoming connection, and of
 * one that was there before. These trace points are passed by sockets of all
 * kinds: most leave at the first lines. Arguments: socket, length or error,
 * flags of the call. */
static __always_inline void uses(__u64 *ctx, __u32 asker)
{
	struct sock *sk = (void *)ctx[0];
	int length = ctx[1], flags = ctx[2];
	__u64 key = (__u64)sk;
	struct connection *known, c = {};
	__u16 family;

	if (length <= 0 || sk->sk_protocol != IPPROTO_TCP)
		return;
	family = sk->__sk_common.skc_family;
	if (family != AF_INET && family != AF_INET6)
		return;
	known = bpf_map_lookup_elem(&connections, &key);
	if (known) {
		if (!known->owner.exact)
			own(&known->owner);
		if (response_times && !(flags & MSG_PEEK))
			answers(sk, known, asker);
		return;
	}
	/* What is closed already must not leave anything behind. */
	if (sk->__sk_common.skc_state == TCP_CLOSE)
		return;
	own(&c.owner);
	remember(sk, &c, BPF_NOEXIST);
}

SEC("tp_btf/sock_send_length")
int on_send(__u64 *ctx)
{
	uses(ctx, OUTGOING);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int on_receive(__u64 *ctx)
{
	uses(ctx, INCOMING);
	return 0;
}

/* Never attached: tests run it to see the bucket of a time. */
SEC("raw_tp")
int bucket(__u64 *ctx)
{
	return bucket_of(ctx[0]);
}
