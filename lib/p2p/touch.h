/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing device memory by the CPU. Memory that was revoked raises
 * SIGBUS when touched; here that becomes an error.
 *
 * One thread touches device memory at a time; the handler of SIGBUS is this module's
 * while it does.
 */
#ifndef P2P_TOUCH_H
#define P2P_TOUCH_H

#include <stddef.h>

/*
 * Calls fn(data). -EFAULT: the memory that it touched is gone, and fn was left
 * where it stood: it must hold nothing (a lock, memory) while it touches. The calls may nest.
 */
int p2p_touch(void (*fn)(void *data), void *data);

/* The offset of the first byte that is not zero, or size. -EFAULT as above. */
int p2p_find_nonzero(const void *memory, size_t size, size_t *ret_first);

#endif
