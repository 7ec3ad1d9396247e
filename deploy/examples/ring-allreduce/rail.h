/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rail: one of the pod's Gaudis with the NIC that is paired with it. Its ring's window lies in
 * the Gaudi's memory, and its NIC moves it, without the CPU, to the right
 * neighbour's Gaudi. A pod with k Gaudis has k rails; each carries a k-th of the gradients.
 *
 * All say on standard error why they fail.
 */
#ifndef RING_ALLREDUCE_RAIL_H
#define RING_ALLREDUCE_RAIL_H

#include "hello.h"
#include "ring.h"

struct rail;

/* How many Gaudis this container was given. 0 or -errno. */
int rail_count(unsigned *ret);

/*
 * Opens Gaudi and NIC number index of this container and makes a window for rings of that world and
 * count. -EUCLEAN: the memory was not zero, and is not used. Release: rail_close().
 */
int rail_open(unsigned index, unsigned world, size_t count, struct rail **ret);
void rail_close(struct rail *rail);
DEFINE_CLEANUP(struct rail *, rail_close)

/* What neighbours must know. */
void rail_describe(const struct rail *rail, struct hello_rail *ret);

/* -EPROTO: the neighbour's window has another size than ours, or its addresses are of no use. */
int rail_connect(struct rail *rail, const struct hello_rail *left, const struct hello_rail *right);

uint8_t *rail_window(struct rail *rail);

/* The ring's calls. -ECONNRESET: the neighbour, or the way to it, is gone; -EIO: our own side failed. */
struct ring_io rail_io(struct rail *rail);

#endif
