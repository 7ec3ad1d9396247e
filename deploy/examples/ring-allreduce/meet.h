/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How ranks find each other, over TCP: rank 0 listens, the others come to it, and
 * when all are there it tells each one its neighbours and the checkpoint from which
 * all go on. The connections stay: one that closes is how the others learn
 * that a rank is gone, at once and also while they compute.
 *
 * These functions say on standard error why they fail. -ECANCELED: told to stop;
 * -ETIMEDOUT: not all came in time; -ECONNRESET: a rank is gone (all should begin anew from the last
 * checkpoint); -EPERM: rank 0 does not want us, and will not later either; other errors as they are.
 */
#ifndef RING_ALLREDUCE_MEET_H
#define RING_ALLREDUCE_MEET_H

#include "hello.h"

struct meet;

struct meet_options {
	const char *host; /* of rank 0; rank 0 itself listens at it, and at all addresses when it is NULL */
	const char *port;
	unsigned join_ms;  /* for all to come */
	unsigned hello_ms; /* for each to say all of its hello */
};

/* Waits until all ranks are there. own->world >= 2. Release: meet_close(). */
int meet_join(const struct meet_options *options, const struct hello *own, struct hello_plan *ret_plan,
	      struct meet **ret);
void meet_close(struct meet *meet);
DEFINE_CLEANUP(struct meet *, meet_close)

/* We are connected to our neighbours; waits until all ranks are. */
int meet_ready(struct meet *meet);

/* Does not wait. 0: nobody is known to be gone. */
int meet_check(struct meet *meet);

/* We have finished with these weights; waits until all have, and with the same. -EBADMSG: somebody with others. */
int meet_done(struct meet *meet, const struct checkpoint *end);

#endif
