/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of uverbs devices. The kernel gives the lowest free number to
 * every device that is registered or moved, and the kubelet has fixed
 * /dev/infiniband/uverbsN for the pod before CNI runs. So before a device
 * lets go of N, every free number below N is occupied by a link that goes
 * nowhere: then N is the lowest again, and comes back. Under the node's lock.
 */
#ifndef CNI_RDMA_NUMBERS_H
#define CNI_RDMA_NUMBERS_H

#include "place.h"

#define NUMBERS_MAX_FILLERS 16

/*
 * Occupies every free number below that of uverbs ("uverbs3"). Returns how many, or -errno:
 * -E2BIG more than NUMBERS_MAX_FILLERS are free. numbers_release() is due in any case.
 */
int numbers_fill(const struct place *host, const char *uverbs);

/* Takes every filler away, also those of a call that was killed. */
void numbers_release(const struct place *host);

/* How many numbers below that of uverbs are free, from the names in a directory like class/infiniband_verbs.
 */
int numbers_count_free(int sys_fd, unsigned below);

#endif
