/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One NIC function into a pod and back: its netdev and its RDMA device, in
 * the order that keeps the uverbs number. Both run under the node's lock.
 */
#ifndef CNI_RDMA_MOVE_H
#define CNI_RDMA_MOVE_H

#include "cni.h"
#include "place.h"
#include "state.h"

struct move {
	const struct place *host;
	const struct place *pod; /* NULL: out of reach */
	const char *who;	 /* beginning of every log line, "ADD 1a2b3c/eth0" */
	bool shared;		 /* every namespace sees every RDMA device: only netdevs can be moved */
};

/*
 * Looks at the NIC function pci on the host and fills nic, all but gaudi and
 * pod_netdev. Changes nothing. Codes 101 (nothing there), 102 (cannot be moved; returns -EOPNOTSUPP).
 */
int move_inspect(const struct move *move, const char *pci, const char *netdev_hint, struct state_nic *nic,
		 struct cni_error *error);

/*
 * Moves it in and brings the netdev up. On failure some of it may have
 * happened: move_out() then restores what there was. -EOPNOTSUPP: as always error is filled, and
 * the reason is that the driver of the RDMA device cannot be moved, ever.
 */
int move_in(const struct move *move, const struct state_nic *nic, struct cni_error *error);

/*
 * Makes the host as nic says it was, from wherever the parts are: the pod, the
 * host under other names, or nowhere. Works towards the goal and may be repeated. Destroys every
 * region on the NIC when it is in a pod. wait_ms: how long to wait for a dying
 * namespace to return the netdev.
 *
 * 0: restored. -ENODEV: the netdev is nowhere that we can reach. -EUCLEAN: back
 * and usable, but under another uverbs number. Another -errno: what could not be done (logged).
 */
int move_out(const struct move *move, const struct state_nic *nic, unsigned wait_ms);

#endif
