/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening that fails on demand. A test that uses this has its own openat(), for everything in the program but
 * the C library itself.
 *
 *	for (unsigned long n = 0; more; n++) {
 *		failopen_arm(n, EMFILE);
 *		... what must survive that its n-th openat() fails
 *		more = failopen_disarm();
 *	}
 */
#ifndef FAILOPEN_H
#define FAILOPEN_H

#include <stdbool.h>

/* Lets the n-th openat() from now on (0: the next) fail with that errno, once. */
void failopen_arm(unsigned long n, int error);

/* Whether what is opened from here on is not meant, and not counted. */
void failopen_pause(bool pause);

/* Ends that. Whether one did fail: if not, there were not more than n. */
bool failopen_disarm(void);

#endif
