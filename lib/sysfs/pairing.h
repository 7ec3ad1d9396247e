/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which NIC function goes with which Gaudi.
 *
 * New pairs are made so that the distances of all new pairs together are as
 * small as they can be; of virtual functions that are equally far those are
 * taken that spread over the physical ones; ties always fall the same way. A pair that was made
 * stays for as long as both its ends exist, wherever better partners appear:
 * what a restart or a hot-plugged NIC changes must not be under a running pod.
 */
#ifndef SYSFS_PAIRING_H
#define SYSFS_PAIRING_H

#include "sysfs/inventory.h"
#include "sysfs/pairs.h"

struct pairing_options {
	const char *mode;	 /* "paired", or "separate" and "none", in which no new pairs are made */
	const struct pairs *old; /* the pairing before, NULL: none */
	/*
	 * True for a Gaudi whose pair must not change now: it is allocated, or
	 * one of the two has been missing only for a moment. NULL: none.
	 */
	bool (*is_held)(const char *gaudi_id, void *data);
	void *data;
	/* Shell patterns of PCI addresses, RDMA devices and interfaces that are never handed out. */
	const char *const *exclude;
	size_t n_exclude;
};

/*
 * Computes the pairing, sorted by Gaudi id: every Gaudi of the inventory, with
 * or without a NIC, and those that are gone but held. 0, -ENOMEM or -EINVAL
 * (mode). The caller frees *ret.
 */
int pairing_update(const struct inventory *inv, const struct pairing_options *options, struct pairs **ret);

/*
 * Whether the NIC of a pair is on this node: visible, or inside a pod. On
 * true, *now (may be NULL) is what is known of it: fresh where it can be seen,
 * else as in the pair.
 */
bool pairing_nic_is_present(const struct inventory *inv, const struct pairs_nic *nic, struct pairs_nic *now);

/*
 * Whether a NIC of the inventory is in no pair. While a Soft-RoCE link is made
 * anew in a pod, it shows on the host for a moment with the name of an
 * interface in the pod, and so perhaps on a function that is not its own: a
 * NIC that has the RDMA name of a paired one counts as paired.
 */
bool pairing_nic_is_free(const struct pairs *p, const struct pairs_nic *nic);

/*
 * Whether this NIC is never handed out: a pattern of options->exclude fits it, or
 * it has virtual functions here. These are then handed out instead, and they
 * and the node need it.
 */
bool pairing_nic_is_excluded(const struct pairing_options *options, const struct inventory *inv,
			     const struct pairs_nic *nic);

/*
 * Minimal assignment of rows to columns, n_rows <= n_columns: column[i] is that
 * of row i, all different, and the sum of cost[i * n_columns + column[i]] is
 * as small as it can be. Costs are 0 to 2^46. The same input gives the same
 * output. 0 or -ENOMEM.
 */
int pairing_assign(size_t n_rows, size_t n_columns, const long long *cost, size_t *column);

#endif
