/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network namespaces: what one is, and how the program's thread enters it and comes back.
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
 * a process keeps the namespace, and with it the device. -ENOENT: nobody has it; others: cannot tell.
 */
int netns_find(int proc_fd, const struct netns_id *id, int *ret_fd);

/*
 * Runs fn(arg) inside the namespace and returns its value, or -errno of getting there. Only the calling thread goes
 * (setns(2)). Should it find no way back to home_fd, the namespace it is in, then the program aborts: in a pod's namespace
 * it must do nothing else, and what it leaves half done the next call puts right, as after a kill. what: one word for
 * the fault point and the log.
 */
int netns_call(int home_fd, int netns_fd, int (*fn)(void *arg), void *arg, const char *what);

/*
 * A sysfs as the calling thread's namespace sees it, mounted nowhere: for
 * openat(). The caller closes.
 */
int netns_sysfs(int *ret_fd);

#endif
