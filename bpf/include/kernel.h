/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The part of the kernel that the programs here use: types with only the
 * fields they read, relocated when they are loaded (CO-RE), and the helper
 * functions by number. Small on purpose: a full dump of the types is 3 MB,
 * and hides which fields a program depends on.
 *
 * Fields are named and typed as in kernels 5.10 to 6.18.
 */
#ifndef TALLYMAN_KERNEL_H
#define TALLYMAN_KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;
typedef long long __s64;
typedef _Bool bool;

#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))

/* include/uapi/linux/bpf.h */
enum {
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };

enum { EEXIST = 17 }; /* include/uapi/asm-generic/errno-base.h */
enum { BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2 };
enum { BPF_RB_AVAIL_DATA = 0 };

/* Helper functions: include/uapi/linux/bpf.h, ___BPF_FUNC_MAPPER.
 *
 * The verifier calls the functions of a map in place of their helpers. Before 6.4
 * these are declared int, and leave the upper half of a long at zero where it should
 * be that of a negative number ("bpf: return long from bpf_map_ops funcs"): read as
 * long, -EEXIST is 0xffffffef there. */
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static int (*const bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static int (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static long (*const bpf_probe_read_kernel)(void *dst, __u32 size, const void *from) = (void *)113;
static long (*const bpf_probe_read_user_str)(void *dst, __u32 size, const void *from) = (void *)114;
static long (*const bpf_probe_read_kernel_str)(void *dst, __u32 size, const void *from) = (void *)115;
static __u64 (*const bpf_ktime_get_boot_ns)(void) = (void *)125;
static void *(*const bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *data, __u64 flags) = (void *)132;
static __u64 (*const bpf_ringbuf_query)(void *ring, __u64 flags) = (void *)134;

/* How a map is described to the loader: its BTF, not its bytes. */
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

/* How clang asks the loader about the running kernel. */
enum { FIELD_EXISTS = 2, TYPE_SIZE = 1, ENUMVAL_VALUE = 1 };
#define field_exists(field) __builtin_preserve_field_info(field, FIELD_EXISTS)
#define enum_value(type, value) __builtin_preserve_enum_value(*(typeof(type) *)value, ENUMVAL_VALUE)
#define type_size(type) __builtin_preserve_type_info(*(typeof(type) *)0, TYPE_SIZE)

/* read copies one field of an object that the verifier does not know. */
#define read(dst, field) \
	bpf_probe_read_kernel(&(dst), sizeof(dst), (const void *)__builtin_preserve_access_index(&(field)))

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	__s64 counter;
} atomic64_t;

typedef struct {
	long counter;
} atomic_long_t;

struct upid {
	int nr;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct kernfs_node {
	const char *name;
	__u64 id;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

struct cgroup {
	struct kernfs_node *kn;
	struct cgroup_root *root;
	struct cgroup_subsys_state *subsys[16];
};

struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
};

/* The values are those of one kernel; the loader puts in the running one's. */
enum cgroup_subsys_id { memory_cgrp_id = 4, pids_cgrp_id = 11 };

struct page_counter {
	atomic_long_t usage;
	unsigned long watermark;
};

struct mem_cgroup {
	struct cgroup_subsys_state css;
	struct page_counter memory;
	bool oom_group;
	atomic_long_t memory_events[9];
};

/* include/linux/memcontrol.h, enum memcg_memory_event: the same since 5.10. */
enum { MEMCG_OOM_KILL = 4 };

struct pids_cgroup {
	struct cgroup_subsys_state css;
	atomic64_t counter;
	__s64 watermark; /* since 6.1 */
};

/* include/linux/sched/signal.h and include/linux/pid_types.h */
enum { SIGNAL_GROUP_EXIT = 4, PIDTYPE_TGID = 1 };

struct signal_struct {
	atomic_t live;
	int group_exit_code;
	unsigned int flags;
	struct pid *pids[4];
	unsigned long long sum_sched_runtime;
	unsigned long maxrss;
};

struct sched_entity {
	__u64 sum_exec_runtime;
};

struct mm_struct {
	unsigned long arg_start;
};

struct task_struct {
	int pid, tgid;
	int exit_code;
	char comm[16];
	__u64 start_boottime;
	struct sched_entity se;
	struct task_struct *real_parent, *group_leader;
	struct mm_struct *mm;
	struct css_set *cgroups;
	struct signal_struct *signal;
};

struct linux_binprm {
	const char *filename;
};

#pragma clang attribute pop

#endif
