/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The training: every rank computes the gradient of its share of the batch, the
 * rings add the shares up, and every rank makes the same step with the same sum, so that
 * the weights are the same bits everywhere without ever being sent. The
 * loss travels as one number more at the end of the gradients.
 *
 * To standard output goes one line of words for each event:
 *	start step=S world=N rails=K weights=COUNT
 *	step=S loss=L seconds=T
 *	checkpoint step=S digest=D
 *	done step=S digest=D
 */
#ifndef RING_ALLREDUCE_TRAIN_H
#define RING_ALLREDUCE_TRAIN_H

#include <stdint.h>

#include "hello.h"
#include "meet.h"
#include "ring.h"

struct train_options {
	const char *job;
	unsigned rank, world;
	struct meet_options meet; /* not for a world of one */
	uint64_t steps;
	unsigned batch; /* samples of all ranks together in each step */
	unsigned hidden;
	float rate;
	uint64_t seed;
	int checkpoints;  /* descriptor of the folder; -EBADF: none */
	uint64_t every;	  /* steps from one checkpoint to the next */
	unsigned step_ms; /* in which the neighbours must answer */
	unsigned pace_ms; /* each step takes that long at least */
};

/* The ends of the rings, as many as rails; for a world of one there are none. */
struct train_rails {
	unsigned n;
	void *data;
	/* Makes the windows: rail i has count[i] numbers. Fills window, io and place of each. */
	int (*open)(void *data, unsigned world, const size_t *count, struct ring *ring,
		    struct hello_rail *place);
	int (*connect)(void *data, unsigned i, const struct hello_rail *left, const struct hello_rail *right);
};

/*
 * From the newest common checkpoint to the last step. 0, or, told on standard error: -ECANCELED: told to stop;
 * -ECONNRESET: a rank is gone, or does not answer; -EFAULT: our device memory is; -EBADMSG: wrong data; and
 * as of meet.h.
 */
int train_run(const struct train_options *options, const struct train_rails *rails);

#endif
