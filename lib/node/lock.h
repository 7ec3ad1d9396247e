/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock of a folder: what it guards is changed by one process at a time, on the whole node.
 */
#ifndef NODE_LOCK_H
#define NODE_LOCK_H

#include <stddef.h>

#define LOCK_FILE "lock"

/*
 * Takes the lock of a directory; closing *ret_fd, or death, gives it back.
 * me is what others are told while we hold it. -ETIMEDOUT after timeout_ms: holder
 * (size bytes) then says who has it.
 */
int lock_take(int dirfd, unsigned timeout_ms, const char *me, int *ret_fd, char *holder, size_t size);

#endif
