/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What most programs of a pod begin with: one of its Gaudis, the NIC that is
 * paired with it, and a piece of device memory that the CPU sees and that
 * peers may write by RDMA.
 *
 *	struct p2p_window w = P2P_WINDOW_INIT;
 *
 *	r = p2p_window_open(&w, 0, why, sizeof(why));
 *	if (r == 0)
 *		r = p2p_window_alloc(&w, 64 << 20, why, sizeof(why));
 *	...
 *	p2p_window_done(&w);
 *
 * On failure why (size bytes) has a sentence for the user: what was not
 * possible with which device, and what to do about it.
 */
#ifndef P2P_WINDOW_H
#define P2P_WINDOW_H

#include "p2p.h"

/* Long enough for every sentence of these functions. */
#define P2P_WHY_SIZE 320

/* The caller reads it; all of it belongs to the window. */
struct p2p_window {
	struct p2p_pair pair;
	struct p2p_device *dev;
	struct p2p_nic *nic;
	struct p2p_memory *mem;
	int dmabuf;
	void *map;	   /* by the CPU */
	uint64_t size;	   /* bytes, whole pages of the device */
	struct ibv_mr *mr; /* written by peers at p2p_memory_device_address(mem) */
};

#define P2P_WINDOW_INIT          \
	{                        \
		.dmabuf = -EBADF \
	}

/*
 * Opens the index-th Gaudi of this pod and its NIC. Errors as p2p_open_index() and
 * p2p_nic_open(); -ENXIO: it has no NIC.
 */
int p2p_window_open(struct p2p_window *w, unsigned index, char *why, size_t size);

/* Allocates, exports, maps and registers bytes, rounded up to the device's page. Errors as of those. */
int p2p_window_alloc(struct p2p_window *w, uint64_t bytes, char *why, size_t size);

/* Gives back what it has, also after a failure. Queue pairs on its NIC must be closed before. */
void p2p_window_done(struct p2p_window *w);

#endif
