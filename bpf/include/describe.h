/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What is read of a process for every record about it. */
#ifndef TALLYMAN_DESCRIBE_H
#define TALLYMAN_DESCRIBE_H

#include "kernel.h"
#include "process.h"

/* subsystem_of returns a controller's state in one of the two structures that
 * have an array of them. The index is known only when the program is loaded. */
#define subsystem_of(object, id)                                                      \
	({                                                                            \
		struct cgroup_subsys_state *css = 0;                                  \
		__u64 offset = enum_value(enum cgroup_subsys_id, id) * sizeof(void *); \
		const void *array = __builtin_preserve_access_index(&(object)->subsys); \
		bpf_probe_read_kernel(&css, sizeof(css), array + offset);             \
		css;                                                                  \
	})

static __always_inline __u32 hierarchy_of(struct cgroup *cgroup)
{
	struct cgroup_root *root = 0;
	__u32 id = 0;

	read(root, cgroup->root);
	read(id, root->hierarchy_id);
	return id;
}

/* place fills in the cgroups of a process. */
static __always_inline void place(struct process_record *r, struct task_struct *task)
{
	struct css_set *set = 0;
	struct cgroup *unified = 0, *memory = 0;
	struct kernfs_node *node = 0;
	const char *name = 0;

	read(set, task->cgroups);
	read(unified, set->dfl_cgrp);
	read(node, unified->kn);
	read(r->cgroup, node->id);
	r->memory = 0;

	struct cgroup_subsys_state *css = subsystem_of(set, memory_cgrp_id);

	if (css) {
		read(memory, css->cgroup);
		read(node, memory->kn);
		read(r->memory, node->id);
	}
	read(name, node->name);
	if (bpf_probe_read_kernel_str(r->leaf, sizeof(r->leaf), name) < 0)
		r->leaf[0] = 0;
}

/* describe fills in what every record of a process has. */
static __always_inline void describe(struct process_record *r, struct task_struct *task, __u32 kind)
{
	struct task_struct *leader = 0, *parent = 0;
	struct signal_struct *signal = 0;
	struct pid *pid = 0;
	__u32 level = 0;

	__builtin_memset(r, 0, __builtin_offsetof(struct process_record, leaf));
	r->kind = kind;
	r->time = bpf_ktime_get_boot_ns();
	read(r->pid, task->tgid);
	read(leader, task->group_leader);
	read(r->start, leader->start_boottime);
	read(parent, task->real_parent);
	read(r->ppid, parent->tgid);
	read(r->comm, leader->comm);

	/* The last thread to go need not be the first one, so the process' own
	 * number is asked for, not the thread's. */
	read(signal, task->signal);
	read(pid, signal->pids[PIDTYPE_TGID]);
	read(level, pid->level);
	if (level < 32) { /* kernel/pid_namespace.c, MAX_PID_NS_LEVEL */
		const void *numbers = __builtin_preserve_access_index(&pid->numbers);

		bpf_probe_read_kernel(&r->vpid, sizeof(r->vpid),
				      numbers + level * type_size(struct upid));
	}
	r->level = level;
	place(r, task);
}

#endif
