// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The process stream: forks, execs and exits of processes, OOM kills, and
 * cgroups that are made, removed and entered. Each program stands alone, so
 * that a kernel without one of the hooks still has the others.
 *
 * A record carries the ids of its cgroups, read here: afterwards, in user
 * space, a process of a millisecond has none any more.
 */
#include "include/describe.h"
#include "include/kernel.h"
#include "include/process.h"
#include "include/ring.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The hierarchy that containers are known by; 0 is the unified one. Events of
 * others are not sent: with cgroup v1 each container is made once in each. */
const volatile __u32 hierarchy = 0;

/* The hierarchy of the pids controller, for the last words of a cgroup: with
 * cgroup v1 another one. */
const volatile __u32 pids_hierarchy = 0;

/* The kernel names the victim before it dies; its exit finds it here. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u32);
} victims SEC(".maps");

/* Who has been told to have ended: two threads that go at the same time may both
 * find that they are the last. */
struct process_id {
	__u64 start;
	__u32 pid, unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct process_id);
	__type(value, __u32);
} ended SEC(".maps");

static __always_inline bool is_told(struct task_struct *task)
{
	struct process_id id = {};
	struct task_struct *leader = 0;
	__u32 yes = 1;

	read(leader, task->group_leader);
	read(id.pid, task->tgid);
	read(id.start, leader->start_boottime);
	return bpf_map_update_elem(&ended, &id, &yes, BPF_NOEXIST) == -EEXIST;
}

/* Makes the types of the records known to user space. */
const struct process_record *unused_process __attribute__((unused));
const struct exec_record *unused_exec __attribute__((unused));
const struct cgroup_record *unused_cgroup __attribute__((unused));
const enum kind *unused_kind __attribute__((unused));
const enum drop *unused_drop __attribute__((unused));

SEC("tp_btf/sched_process_fork")
int on_fork(__u64 *ctx)
{
	struct task_struct *child = (void *)ctx[1];
	struct process_record *r;
	__u32 pid = 0, tgid = 0;

	read(pid, child->pid);
	read(tgid, child->tgid);
	if (pid != tgid) /* a thread */
		return 0;
	r = reserve(sizeof(*r), DROP_FORK);
	if (!r)
		return 0;
	describe(r, child, FORK);
	submit(r, r->time);
	return 0;
}

/* A program that executes itself again does so by /proc/self/exe, and is called
 * "exe" then: busybox runs its applets so. Its own idea of a name is the first
 * argument; a path there is left alone, it may be cut. */
static __always_inline void name_reexecuted(struct process_record *r, struct task_struct *task)
{
	char name[COMM_SIZE] = {};
	struct mm_struct *mm = 0;
	unsigned long argument = 0;

	if (r->comm[0] != 'e' || r->comm[1] != 'x' || r->comm[2] != 'e' || r->comm[3])
		return;
	read(mm, task->mm);
	read(argument, mm->arg_start);
	if (bpf_probe_read_user_str(name, sizeof(name), (void *)argument) > 1 && name[0] != '/')
		__builtin_memcpy(r->comm, name, sizeof(name));
}

SEC("tp_btf/sched_process_exec")
int on_exec(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct linux_binprm *bprm = (void *)ctx[2];
	const char *name = 0;
	struct exec_record *r = reserve(sizeof(*r), DROP_EXEC);

	if (!r)
		return 0;
	describe(&r->process, task, EXEC);
	name_reexecuted(&r->process, task);
	read(name, bprm->filename);
	if (bpf_probe_read_kernel_str(r->program, sizeof(r->program), name) < 0)
		r->program[0] = 0;
	submit(r, r->process.time);
	return 0;
}

/* exit_code is what wait(2) will give: of the whole group if something ended
 * all of it (exit_group, a signal), else of its first thread
 * (kernel/exit.c, wait_task_zombie). */
static __always_inline __u32 exit_code(struct task_struct *leader, struct signal_struct *signal)
{
	__u32 flags = 0, code = 0;

	read(flags, signal->flags);
	if (flags & SIGNAL_GROUP_EXIT)
		read(code, signal->group_exit_code);
	else
		read(code, leader->exit_code);
	return code;
}

SEC("tp_btf/sched_process_exit")
int on_exit(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0], *leader = 0;
	struct signal_struct *signal = 0;
	struct process_record *r;
	__u64 spent = 0, own = 0;
	__u32 pid = 0;
	int live = 0;

	read(signal, task->signal);
	read(live, signal->live.counter);
	if (live || is_told(task)) /* not the last thread */
		return 0;
	r = reserve(sizeof(*r), DROP_EXIT);
	if (!r)
		return 0;
	describe(r, task, EXIT);
	read(leader, task->group_leader);
	r->exit_code = exit_code(leader, signal);
	read(r->max_rss, signal->maxrss);
	/* The threads that were reaped, this one, and the first one, which is
	 * reaped last. */
	read(spent, signal->sum_sched_runtime);
	read(own, task->se.sum_exec_runtime);
	r->cpu_time = spent + own;
	if (leader != task) {
		read(own, leader->se.sum_exec_runtime);
		r->cpu_time += own;
	}
	pid = r->pid; /* before 6.2 a key must not be in the ring buffer */
	if (bpf_map_lookup_elem(&victims, &pid)) {
		r->oom = 1;
		bpf_map_delete_elem(&victims, &pid);
	}
	submit(r, r->time);
	return 0;
}

/* The argument of mark_victim is the victim's number, since 6.8 the victim
 * (commit 72ba14deb40a, also in Debian's 6.1). No pointer is that small. */
SEC("raw_tp/mark_victim")
int on_oom(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	bool is_number = ctx[0] <= 0x7fffffff;
	__u32 pid = ctx[0], yes = 1;
	struct process_record *r;

	if (!is_number)
		read(pid, task->tgid);
	bpf_map_update_elem(&victims, &pid, &yes, BPF_ANY);
	r = reserve(sizeof(*r), DROP_OOM);
	if (!r)
		return 0;
	if (is_number) {
		__builtin_memset(r, 0, sizeof(*r));
		r->kind = OOM;
		r->time = bpf_ktime_get_boot_ns();
		r->pid = pid;
	} else {
		describe(r, task, OOM);
	}
	submit(r, r->time);
	return 0;
}

SEC("tp_btf/cgroup_attach_task")
int on_attach(__u64 *ctx)
{
	struct cgroup *cgroup = (void *)ctx[0];
	struct task_struct *task = (void *)ctx[2];
	struct process_record *r;
	__u32 pid = 0, tgid = 0;

	read(pid, task->pid);
	read(tgid, task->tgid);
	if (hierarchy_of(cgroup) != hierarchy || pid != tgid)
		return 0;
	r = reserve(sizeof(*r), DROP_CGROUP);
	if (!r)
		return 0;
	describe(r, task, ATTACH); /* the move is done (kernel/cgroup/cgroup.c) */
	submit(r, r->time);
	return 0;
}

/* cgroup_of starts the record of a cgroup, or returns 0. */
static __always_inline struct cgroup_record *cgroup_of(struct cgroup *cgroup, const char *path, __u32 kind)
{
	struct kernfs_node *node = 0;
	struct cgroup_record *r;

	__u32 id = hierarchy_of(cgroup);

	if (id != hierarchy && (id != pids_hierarchy || kind != RMDIR))
		return 0;
	r = reserve(sizeof(*r), DROP_CGROUP);
	if (!r)
		return 0;
	__builtin_memset(r, 0, __builtin_offsetof(struct cgroup_record, path));
	r->kind = kind;
	r->time = bpf_ktime_get_boot_ns();
	r->hierarchy = id;
	read(node, cgroup->kn);
	read(r->id, node->id);
	if (bpf_probe_read_kernel_str(r->path, sizeof(r->path), path) < 0)
		r->path[0] = 0;
	return r;
}

SEC("tp_btf/cgroup_mkdir")
int on_mkdir(__u64 *ctx)
{
	struct cgroup_record *r = cgroup_of((void *)ctx[0], (void *)ctx[1], MKDIR);

	if (r)
		submit(r, r->time);
	return 0;
}

/* The last moment at which the counters of a cgroup can be read. */
SEC("tp_btf/cgroup_rmdir")
int on_rmdir(__u64 *ctx)
{
	struct cgroup *cgroup = (void *)ctx[0];
	struct cgroup_record *r = cgroup_of(cgroup, (void *)ctx[1], RMDIR);
	struct mem_cgroup *memory;
	struct pids_cgroup *pids;
	bool group = 0;

	if (!r)
		return 0;
	memory = (void *)subsystem_of(cgroup, memory_cgrp_id);
	if (memory) {
		r->has_memory = 1;
		read(r->memory_usage, memory->memory.usage.counter);
		read(r->memory_peak, memory->memory.watermark);
		read(r->oom_kills, memory->memory_events[MEMCG_OOM_KILL].counter);
		read(group, memory->oom_group);
		r->oom_group = group;
	}
	pids = (void *)subsystem_of(cgroup, pids_cgrp_id);
	if (pids && field_exists(pids->watermark))
		read(r->pids_peak, pids->watermark);
	submit(r, r->time);
	return 0;
}
