/* SPDX-License-Identifier: Apache-2.0 */
/* What programs in pods do with their NIC. All fail the test when something is not as it should be. */
#ifndef CNI_VERBS_H
#define CNI_VERBS_H

#include <stdbool.h>

struct verbs_side {
	int sock; /* to the other side */
	int gid_index;
	bool writes; /* one side does */
};

/* Opens the one NIC of the pod, connects to the other side, has one write 64 KiB into the other's memory. */
void verbs_exchange(struct verbs_side *side);

/*
 * Registers a region, sends the file of the NIC over sock, waits for a
 * signal, and then finds everything dead; signals back.
 */
void verbs_hold_region(int sock);

#endif
