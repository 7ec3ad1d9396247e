/* SPDX-License-Identifier: Apache-2.0 */
/* The device nodes that belong to a Gaudi and its NIC, and to a NIC by itself. */
#ifndef DEVICE_PLUGIN_NODES_H
#define DEVICE_PLUGIN_NODES_H

#include "core.h"

#define NODES_RDMA_CM "/dev/infiniband/rdma_cm"
#define NODES_MAX 4
#define NODES_PERMISSIONS "rw" /* of the device cgroup */

struct node {
	char path[64];	  /* on the host, and in the container */
	const char *link; /* below the device's stable name (links.h); NULL: the path itself is stable */
};

/* Fills nodes (NODES_MAX entries), the accel node first. Returns their number. */
size_t nodes_of_gaudi(const struct core *core, const struct gaudi *gaudi, struct node *nodes);

/* The same for a NIC: its verbs node first. 0 when it has none. */
size_t nodes_of_nic(const struct core *core, const struct pairs_nic *nic, struct node *nodes);

#endif
