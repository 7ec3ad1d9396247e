/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocations that fail on demand. A test that uses this has its own malloc(), for everything in the program: ours,
 * protobuf-c, nghttp2, jansson, and the C library itself. With the address sanitizer too.
 *
 *	for (unsigned long n = 0; more; n++) {
 *		failalloc_arm(n);
 *		failalloc_resume();
 *		... what must survive that its n-th allocation fails
 *		failalloc_pause();
 *		... what is not meant
 *		more = failalloc_disarm();
 *	}
 */
#ifndef FAILALLOC_H
#define FAILALLOC_H

#include <stdbool.h>

/* Lets the n-th allocation (0: the first) of those between resume and pause fail, once. */
void failalloc_arm(unsigned long n);
void failalloc_resume(void);
void failalloc_pause(void);

/* Ends that. Whether an allocation did fail: if not, there were not more than n. */
bool failalloc_disarm(void);

/* Pieces of memory that are allocated now, to compare: a difference is a leak. Always 0 with the address sanitizer. */
long failalloc_live(void);

#endif
