/* SPDX-License-Identifier: Apache-2.0 */
/* Another pod: a process with a network namespace of its own that does what it is told. */
#ifndef TEST_GRANT_POD_H
#define TEST_GRANT_POD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum pod_op {
	POD_ATTACH,    /* a new importer; args: kind, delay_ms */
	POD_MAP,       /* its answer */
	POD_WRITE,     /* DMA of POD_TEXT to offset arg; 0 */
	POD_READS,     /* DMA: 1 if POD_TEXT stands at offset arg */
	POD_MMAP,      /* 0 or -errno; arg: size */
	POD_SIGBUS,    /* 1: touching offset arg raises it */
	POD_FORK,      /* a child with the same mapping; arg 1: which moves to another namespace */
	POD_RESHAPE,   /* splits and moves the mapping: 0; what is left is its first page, elsewhere */
	POD_GIVE_PEER, /* sends the importer's file: pod_receive() */
	POD_TAKE,      /* takes a file: pod_give() */
	POD_GRANT,     /* on the accel file that was given last but one: a grant to itself */
	POD_TAKE_BACK,
	POD_REVOKE,
	POD_EXPORT, /* arg: device address, in MiB */
	POD_LIST,
	POD_ALLOC,
	POD_UNSHARE, /* moves to another network namespace */
	POD_CGROUP,  /* moves to the cgroup /pod<arg> */
	POD_CGROUP_ROOT,
	POD_MAKE_SOCKET, /* what POD_GIVE_PEER sends then */
};

#define POD_TEXT "written by the pod"

struct pod {
	pid_t pid;
	int pidfd;
	int sock;
	int child; /* socket to the child of POD_FORK */
};

/* In a network namespace of its own (@netns) or the caller's. It gets the dma-buf at once. */
void pod_start(struct pod *pod, bool netns, int dmabuf);
int pod_do(struct pod *pod, enum pod_op op, uint32_t a, uint32_t b);
/* Gives a file; the two last ones are kept, the last is what it attaches to. */
void pod_give(struct pod *pod, int fd);
int pod_receive(struct pod *pod);
/* As POD_SIGBUS, in the child of POD_FORK, which may outlive the pod's process. */
int pod_child_sigbus(struct pod *pod, uint32_t offset);
/* Ends the process, not its child; the pidfd stays open. */
void pod_end(struct pod *pod);
int pod_pidfd(pid_t pid, unsigned int flags);

#endif
