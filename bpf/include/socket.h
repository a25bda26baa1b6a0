/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The kernel's sockets, as far as the connection programs read them. As in
 * kernel.h, fields are named and typed as in kernels 5.10 to 6.18.
 */
#ifndef TALLYMAN_SOCKET_H
#define TALLYMAN_SOCKET_H

#include "kernel.h"

/* Helper functions: include/uapi/linux/bpf.h, ___BPF_FUNC_MAPPER. */
static __u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static __u64 (*const bpf_get_current_task)(void) = (void *)35;
static __u64 (*const bpf_get_current_cgroup_id)(void) = (void *)80;
static void *(*const bpf_skc_to_tcp_sock)(void *sk) = (void *)137;

/* include/linux/socket.h, include/uapi/linux/in.h */
enum { AF_INET = 2, AF_INET6 = 10, IPPROTO_TCP = 6 };

/* include/net/tcp_states.h */
enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT,
	TCP_SYN_RECV,
	TCP_FIN_WAIT1,
	TCP_FIN_WAIT2,
	TCP_TIME_WAIT,
	TCP_CLOSE,
	TCP_CLOSE_WAIT,
	TCP_LAST_ACK,
	TCP_LISTEN,
	TCP_CLOSING,
};

/* include/linux/socket.h */
enum { MSG_PEEK = 2 };

/* include/net/sock.h, enum sock_flags: the bit that tcp_fin() sets when the
 * other side has said that it sends no more. */
enum { SOCK_DONE = 1 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)


struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__u32 skc_daddr, skc_rcv_saddr;
	__u16 skc_dport, skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
	unsigned long skc_flags;
	atomic64_t skc_cookie;
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

/* Until 5.15 (commit 8520e224f547) the same word held either the cgroup or, with
 * its lowest bits set, what net_cls and net_prio had put there. */
struct sock_cgroup_data___old {
	__u64 val;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	int sk_err;
	struct sock_cgroup_data sk_cgrp_data;
};

struct inet_sock {
	struct sock sk;
	__u16 inet_sport;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u64 bytes_sent, bytes_retrans, bytes_received;
	__u32 segs_in, segs_out, total_retrans, srtt_us;
};

#pragma clang attribute pop

#endif
