// SPDX-License-Identifier: Apache-2.0
#include "nodes.h"

#include <stdio.h>

#include "links.h"

size_t nodes_of_nic(const struct core *core, const struct pairs_nic *nic, struct node *nodes)
{
	size_t n = 0;

	if (!nic->uverbs[0])
		return 0;
	nodes[n].link = LINKS_UVERBS;
	(void)snprintf(nodes[n++].path, sizeof(nodes->path), "/dev/infiniband/%s", nic->uverbs);
	if (core->inventory && core->inventory->has_rdma_cm) {
		nodes[n].link = NULL;
		(void)snprintf(nodes[n++].path, sizeof(nodes->path), NODES_RDMA_CM);
	}
	return n;
}

size_t nodes_of_gaudi(const struct core *core, const struct gaudi *gaudi, struct node *nodes)
{
	const struct pairs_nic *nic = core_nic_of(core, gaudi->id);
	size_t n = 0;

	nodes[n].link = LINKS_ACCEL;
	(void)snprintf(nodes[n++].path, sizeof(nodes->path), "/dev/accel/accel%u", gaudi->minor);
	if (gaudi->has_control) {
		nodes[n].link = LINKS_CONTROL;
		(void)snprintf(nodes[n++].path, sizeof(nodes->path), "/dev/accel/accel_controlD%u",
			       gaudi->minor);
	}
	return nic ? n + nodes_of_nic(core, nic, nodes + n) : n;
}
