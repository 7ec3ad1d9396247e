/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mode "soft": no NIC is moved, but a Soft-RoCE link is made on the interface that the pod has from
 * the plugin before us. All of it runs under the node's lock.
 */
#ifndef CNI_RDMA_SOFT_H
#define CNI_RDMA_SOFT_H

#include "cni.h"
#include "move.h"
#include "state.h"

/*
 * Fills state->link: a name that no other attachment of the node has, and the interface. Code 7: the pod has
 * no such interface yet.
 */
int soft_plan(const struct move *move, struct state *state, struct cni_error *error);

/* Makes the link. On failure some of it may have happened: soft_out() then takes it away. */
int soft_in(const struct move *move, const struct state_link *link, struct cni_error *error);

/*
 * Takes the link down, wherever it is; 0 also when it went with its namespace. Every region on
 * it is gone from then on. May be repeated.
 */
int soft_out(const struct move *move, const struct state_link *link);

#endif
