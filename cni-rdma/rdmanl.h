/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RDMA netlink. Every call sees the devices of one network namespace: that in which the channel was opened, and for
 * rdmanl_move() the program must be.
 *
 * All return 0 or -errno; nlchan_error_text() may have the kernel's words.
 */
#ifndef CNI_RDMA_RDMANL_H
#define CNI_RDMA_RDMANL_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nlchan.h"

#define RDMANL_NAME_MAX 64 /* IB_DEVICE_NAME_MAX of the kernel */

struct rdmanl_device {
	uint32_t index; /* unique on the node, survives moves and renames */
	uint64_t node_guid;
	char name[RDMANL_NAME_MAX]; /* unique in its namespace only */
};

struct rdmanl_port {
	uint32_t ndev_index; /* 0: no netdev that this namespace may see */
	char ndev_name[IFNAMSIZ];
};

struct rdmanl_chardev {
	char name[32]; /* "uverbs0" */
	uint64_t dev;  /* device number as the kernel encodes it */
};

/* True: every namespace sees every device, so that moving one means nothing. */
int rdmanl_is_shared(struct nlchan *chan, bool *ret_shared);

/* Ends that. -EBUSY: a network namespace besides the first exists. */
int rdmanl_set_exclusive(struct nlchan *chan);

/* All devices of the namespace, in the kernel's order. The caller frees *ret, which is NULL when there are
 * none. */
int rdmanl_list(struct nlchan *chan, struct rdmanl_device **ret, size_t *ret_n);

/* The device of that name or index; -ENODEV: not in this namespace. */
int rdmanl_find(struct nlchan *chan, const char *name, struct rdmanl_device *ret);
int rdmanl_find_index(struct nlchan *chan, uint32_t index, struct rdmanl_device *ret);

/* The device whose first port sits on that netdev; -ENODEV: none. */
int rdmanl_find_ndev(struct nlchan *chan, unsigned ndev_index, struct rdmanl_device *ret);

/* First port. */
int rdmanl_port(struct nlchan *chan, uint32_t index, struct rdmanl_port *ret);

/* The uverbs character device; -EOPNOTSUPP or -ENOENT: it has none. */
int rdmanl_chardev(struct nlchan *chan, uint32_t index, struct rdmanl_chardev *ret);

int rdmanl_move(struct nlchan *chan, uint32_t index, int netns_fd);
int rdmanl_rename(struct nlchan *chan, uint32_t index, const char *name);

/* Soft links. The device appears in the first namespace, whoever asks, when the system mode is exclusive. */
int rdmanl_add_link(struct nlchan *chan, const char *name, const char *type, const char *netdev);
int rdmanl_del_link(struct nlchan *chan, uint32_t index);

#endif
