// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "fault.h"
#include "soft.h"

int soft_plan(const struct move *move, struct state *state, struct cni_error *error)
{
	struct state_link *link = &state->link;
	struct rtlink netdev;
	int r = rtlink_get(move->pod->rt, state->ifname, &netdev);

	if (r < 0 && r != -ENODEV)
		return cni_error_set(error, CNI_ERR_IO, r, "cannot look at the pod's interface %s",
				     state->ifname);
	if (r < 0) {
		cni_error_set(error, CNI_ERR_CONFIG, 0, "the pod has no interface %s", state->ifname);
		return cni_error_explain(error,
					 "mode soft puts a link on the pod's interface: cni-rdma must stand "
					 "behind the plugin that makes it (ptp, bridge, ...)");
	}
	memcpy(link->netdev, state->ifname, sizeof(link->netdev));
	/* Of the whole node, because before 7.3 the kernel wants it so; and of the kernel's 64 bytes. */
	(void)snprintf(link->rdma, sizeof(link->rdma), "rxe-%.32s-%s", state->container, state->ifname);
	return 0;
}

static int move_link_in(const struct move *move, const struct state_link *link, struct cni_error *error)
{
	struct rdmanl_device device;
	int r;

	/* Made for an interface in the pod, yet it appears in the first namespace. */
	r = fault_point("link-find");
	if (r == 0)
		r = rdmanl_find(move->host->rdma, link->rdma, &device);
	if (r < 0)
		return cni_error_set(error, CNI_ERR_NO_DEVICE, r, "cannot find the new link %s", link->rdma);
	if (move->shared)
		return 0;
	r = fault_point("rdma-move");
	if (r == 0)
		r = rdmanl_move(move->host->rdma, device.index, move->pod->netns_fd);
	/* Older kernels report success for what they did not do: believe only what the pod shows. */
	if (r == 0)
		r = fault_point("rdma-find");
	if (r == 0)
		r = rdmanl_find_index(move->pod->rdma, device.index, &device);
	return r < 0 ? cni_error_set(error, CNI_ERR_CANNOT_MOVE, r, "cannot move link %s into the pod",
				     link->rdma)
		     : 0;
}

int soft_in(const struct move *move, const struct state_link *link, struct cni_error *error)
{
	const char *words;
	int r = fault_point("link-add");

	if (r == 0)
		r = rdmanl_add_link(move->pod->rdma, link->rdma, "rxe", link->netdev);
	if (r < 0) {
		words = nlchan_error_text(move->pod->rdma);
		cni_error_set(error, CNI_ERR_NO_DEVICE, r, "cannot make a Soft-RoCE link on %s%s%s",
			      link->netdev, words[0] ? ", the kernel says: " : "", words);
		return cni_error_explain(error,
					 "is the module rdma_rxe loaded (modprobe rdma_rxe), and has %s no "
					 "link yet (rdma link show)?",
					 link->netdev);
	}
	r = move_link_in(move, link, error);
	if (r == 0)
		log_info("%s: made Soft-RoCE link %s on %s", move->who, link->rdma, link->netdev);
	return r;
}

static int take_down(const struct move *move, const struct place *place, const struct state_link *link)
{
	struct rdmanl_device device;
	int r = rdmanl_find(place->rdma, link->rdma, &device);

	if (r == 0)
		r = rdmanl_del_link(place->rdma, device.index);
	if (r == -ENODEV)
		return 0;
	if (r < 0)
		return log_error_errno(r, "%s: cannot take down link %s", move->who, link->rdma);
	log_info("%s: took down link %s: every region on it is gone", move->who, link->rdma);
	return 0;
}

int soft_out(const struct move *move, const struct state_link *link)
{
	int r = move->pod ? take_down(move, move->pod, link) : 0;
	/* One that never reached the pod. */
	int r2 = take_down(move, move->host, link);

	return r < 0 ? r : r2;
}
