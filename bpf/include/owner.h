/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whose a socket is: the process that uses it, and its cgroups. */
#ifndef TALLYMAN_OWNER_H
#define TALLYMAN_OWNER_H

#include "connection.h"
#include "kernel.h"
#include "socket.h"

/* memory_of returns the id of a process' cgroup in the hierarchy of the memory
 * controller. The controller's index is known only when the program is loaded. */
static __always_inline __u64 memory_of(struct css_set *set)
{
	__u64 offset = enum_value(enum cgroup_subsys_id, memory_cgrp_id) * sizeof(void *);
	const void *array = __builtin_preserve_access_index(&set->subsys);
	struct cgroup_subsys_state *css = 0;
	struct kernfs_node *node = 0;
	struct cgroup *cgroup = 0;
	__u64 id = 0;

	if (bpf_probe_read_kernel(&css, sizeof(css), array + offset) || !css)
		return 0;
	read(cgroup, css->cgroup);
	read(node, cgroup->kn);
	read(id, node->id);
	return id;
}

/* own makes the running process the owner. */
static __always_inline void own(struct owner *o)
{
	struct task_struct *task = (void *)bpf_get_current_task(), *leader = 0;
	struct css_set *set = 0;

	o->pid = bpf_get_current_pid_tgid() >> 32;
	o->exact = 1;
	o->cgroup = bpf_get_current_cgroup_id();
	read(leader, task->group_leader);
	read(o->comm, leader->comm);
	read(set, task->cgroups);
	o->memory = memory_of(set);
}

/* cgroup_of returns the cgroup of who made the socket or, if it was accepted,
 * of who made its listener; 0 if this kernel keeps something else there. */
static __always_inline __u64 cgroup_of(struct sock *sk)
{
	struct kernfs_node *node = 0;
	__u64 word = 0, id = 0;

	if (field_exists(sk->sk_cgrp_data.cgroup))
		return sk->sk_cgrp_data.cgroup->kn->id;

	struct sock_cgroup_data___old *old = (void *)&sk->sk_cgrp_data;

	read(word, old->val);
	if (!word || word & 3) /* include/linux/cgroup-defs.h, is_data and no_refcnt */
		return 0;
	read(node, ((struct cgroup *)word)->kn);
	read(id, node->id);
	return id;
}

#endif
