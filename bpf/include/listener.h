/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who listens where: an accepted socket does not know who made its listener. */
#ifndef TALLYMAN_LISTENER_H
#define TALLYMAN_LISTENER_H

#include "connection.h"
#include "kernel.h"
#include "owner.h"
#include "socket.h"

/* A thousand containers with eight addresses each. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct listener_key);
	__type(value, struct listener);
} listeners SEC(".maps");

static __always_inline void listens_at(struct listener_key *key, struct sock *sk, __u16 port)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->netns = sk->__sk_common.skc_net.net->ns.inum;
	key->port = port;
	key->family = sk->__sk_common.skc_family;
	if (key->family == AF_INET)
		*(__u32 *)key->address = sk->__sk_common.skc_rcv_saddr;
	else
		read(key->address, sk->__sk_common.skc_v6_rcv_saddr);
}

/* find_listener returns who listens, or listened last, for a connection. */
static __always_inline struct listener *find_listener(struct sock *sk, __u16 port)
{
	struct listener_key key;
	struct listener *found;

	listens_at(&key, sk, port);
	found = bpf_map_lookup_elem(&listeners, &key);
	if (found)
		return found;
	__builtin_memset(key.address, 0, sizeof(key.address));
	return bpf_map_lookup_elem(&listeners, &key);
}

/* listens remembers a listener; false if there was no room. */
static __always_inline bool listens(struct sock *sk)
{
	struct listener_key key;
	struct listener value = {};

	listens_at(&key, sk, sk->__sk_common.skc_num);
	if (!key.port) /* the kernel picks one later */
		return 1;
	value.socket = (__u64)sk;
	own(&value.owner);
	value.owner.exact = 0; /* of the listener, not of its connections */
	return !bpf_map_update_elem(&listeners, &key, &value, BPF_ANY);
}

/* forgets a listener, but not one that has taken its place. Of one that user
 * space told of, the socket is not known: better no process than a wrong one. */
static __always_inline void forgets(struct sock *sk, __u16 port)
{
	struct listener_key key;
	struct listener *known;

	listens_at(&key, sk, port);
	known = bpf_map_lookup_elem(&listeners, &key);
	if (known && (!known->socket || known->socket == (__u64)sk))
		bpf_map_delete_elem(&listeners, &key);
}

#endif
