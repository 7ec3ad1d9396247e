/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network namespaces, entered by threads that live for one call: the program's
 * own thread never leaves the host's.
 */
#ifndef CNI_RDMA_NETNS_H
#define CNI_RDMA_NETNS_H

#include <stdbool.h>
#include <stdint.h>

/* Which namespace it is: unique while it lives, perhaps reused afterwards. */
struct netns_id {
	uint64_t dev;
	uint64_t ino;
};

/* Opens the namespace at path. -EINVAL: something is there, but no network namespace. The caller closes. */
int netns_open(const char *path, int *ret_fd);

/* The namespace of the calling thread. */
int netns_open_self(int *ret_fd);

int netns_identify(int fd, struct netns_id *ret);
bool netns_id_equal(const struct netns_id *a, const struct netns_id *b);

/*
 * The namespace with that id, through any process below proc (a directory
 * like /proc) that still lives in it: the path given at ADD may be gone while
 * a process keeps the namespace, and with it the device. -ENOENT: nobody has it.
 */
int netns_find(int proc_fd, const struct netns_id *id, int *ret_fd);

/* Runs fn(arg) in a thread inside the namespace and returns its value, or -errno of getting there. */
int netns_call(int netns_fd, int (*fn)(void *arg), void *arg);

/*
 * A sysfs as the calling thread's namespace sees it, mounted nowhere: for
 * openat(). The caller closes.
 */
int netns_sysfs(int *ret_fd);

#endif
