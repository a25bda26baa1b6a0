/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the process programs send to user space through the ring buffer. Every
 * record begins with its kind and the time (ns since boot, CLOCK_BOOTTIME).
 * Byte order and alignment are the machine's; there is no hidden padding.
 */
#ifndef TALLYMAN_PROCESS_H
#define TALLYMAN_PROCESS_H

enum kind {
	FORK = 1,
	EXEC,
	EXIT,
	OOM,
	MKDIR,
	RMDIR,
	ATTACH,
};

/* Why a record was not sent, by what it was about. */
enum drop {
	DROP_FORK,
	DROP_EXEC,
	DROP_EXIT,
	DROP_OOM,
	DROP_CGROUP,
	DROP_COUNT,
};

enum {
	COMM_SIZE = 16,
	/* A container's cgroup directory: 64 digits with the longest known
	 * prefix and suffix (cri-containerd-, .scope). */
	LEAF_SIZE = 96,
	/* The end of a program's path is what says most, but the kernel's
	 * strings are read from their start. */
	PROGRAM_SIZE = 128,
	/* The longest paths seen are those of containers in Kubernetes in
	 * Docker, about 300 bytes; the kernel itself cuts at 1024. */
	PATH_SIZE = 512,
};

/* FORK, EXIT, OOM, ATTACH */
struct process_record {
	__u64 time;
	__u64 start;  /* of the process, ns since boot */
	__u64 cgroup; /* id in the unified hierarchy */
	__u64 memory; /* id in the hierarchy of the memory controller; 0 without one */
	__u64 cpu_time; /* ns; exit only */
	__u64 max_rss;	/* pages; exit only */
	__u32 kind;
	__u32 pid, ppid; /* as the first pid namespace numbers them */
	__u32 vpid;	 /* as its own does */
	__u32 level;	 /* nesting of its pid namespace, 0 for the first */
	__u32 exit_code; /* as wait(2) gives it; exit only */
	__u32 oom;	 /* 1: the OOM killer chose it; exit only */
	__u32 unused;
	__u8 comm[COMM_SIZE];
	__u8 leaf[LEAF_SIZE]; /* name of the memory hierarchy's, else the unified cgroup */
};

/* EXEC */
struct exec_record {
	struct process_record process;
	__u8 program[PROGRAM_SIZE]; /* as it was given to execve(2), cut */
};

/* MKDIR, RMDIR */
struct cgroup_record {
	__u64 time;
	__u64 id;
	__u64 memory_usage, memory_peak; /* pages; rmdir only */
	__u64 oom_kills;		 /* of its subtree on v2; rmdir only */
	__u64 pids_peak;		 /* 0 if the kernel does not keep it; rmdir only */
	__u32 kind;			 /* at the same place as in process_record */
	__u32 hierarchy;		 /* 0 is the unified one */
	__u32 has_memory;		 /* 1: this hierarchy has the memory controller */
	__u32 oom_group;		 /* memory.oom.group; rmdir only */
	__u8 path[PATH_SIZE];
};

#endif
