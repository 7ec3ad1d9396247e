/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ranks tell each other when they meet, as lines of words. Bytes in, bytes
 * out; nothing here does any input or output, and nothing here trusts a number.
 *
 *	rank R to rank 0			rank 0 to rank R
 *	ring-allreduce-1 job= rank= ...
 *	in rail= qpn= ... rkey= addr= size=	(of each rail: where the left neighbour writes)
 *	out rail= qpn= ...			(and from where the right one is written to)
 *	have step= digest=			(checkpoints)
 *	end
 *						plan run= step= digest=
 *						left rail= qpn= ...
 *						right rail= qpn= ... rkey= addr= size=
 *						end
 *						or: refused why=WORD
 */
#ifndef RING_ALLREDUCE_HELLO_H
#define RING_ALLREDUCE_HELLO_H

#include <stdbool.h>
#include <stdint.h>

#include "checkpoint.h"
#include "lines/words.h"
#include "p2p/rc.h"
#include "ring.h"

#define HELLO_RAILS_MAX 16
#define HELLO_JOB_SIZE 64
/* All that one side says at once. */
#define HELLO_TEXT_SIZE (256 * (2 * HELLO_RAILS_MAX + CHECKPOINT_OFFER + 2))

/* One Gaudi with its NIC: the connection in from the left, that out to the right, and the memory. */
struct hello_rail {
	struct rc_address in, out;
	uint64_t address; /* of the window, as the NIC knows it */
	uint64_t size;
	uint32_t rkey;
};

struct hello {
	char job[HELLO_JOB_SIZE];
	unsigned rank, world, rails;
	uint64_t config; /* digest of all that must be the same in all ranks */
	struct hello_rail rail[HELLO_RAILS_MAX];
	struct checkpoint_set have;

	/* While it comes in. */
	bool begun;
	uint32_t ins, outs; /* bit i: of rail i */
};

/* What rank 0 decided: for one rank. Of left only out, of right only in, address, size and rkey count. */
struct hello_plan {
	uint64_t run;
	struct checkpoint from;
	struct hello_rail left[HELLO_RAILS_MAX], right[HELLO_RAILS_MAX];

	bool begun;
	uint32_t lefts, rights;
};

/* Why somebody is not let in. */
enum hello_refusal {
	HELLO_GARBAGE,	 /* not understood */
	HELLO_JOB,	 /* of another job */
	HELLO_WORLD,	 /* another number of ranks */
	HELLO_RANK,	 /* a rank that does not exist, or 0 */
	HELLO_RAILS,	 /* another number of Gaudis */
	HELLO_CONFIG,	 /* other options */
	HELLO_TAKEN,	 /* the rank is here already: perhaps its last process, which is about to go */
	HELLO_SLOW,	 /* did not say all of it in time */
	HELLO_DIFFERENT, /* at the end, its weights are not those of rank 0 */
	HELLO_REFUSALS
};

/* "other-job" and the like; NULL-terminated sentence for a user; and back, -EINVAL. */
const char *hello_refusal_word(enum hello_refusal refusal);
const char *hello_refusal_text(enum hello_refusal refusal);
int hello_refusal_parse(const char *word, enum hello_refusal *ret);

/* The lines of it, whole; their length. */
size_t hello_format(const struct hello *hello, char text[HELLO_TEXT_SIZE]);
size_t hello_plan_format(const struct hello_plan *plan, unsigned rails, char text[HELLO_TEXT_SIZE]);

/*
 * Takes one line. 1: that was the last one and nothing is missing; 0: more must follow; -EINVAL:
 * not understood, out of range, twice, or not in its place.
 */
int hello_take(struct hello *hello, const char *line);
int hello_plan_take(struct hello_plan *plan, unsigned rails, const char *line);

/* May a rank with that hello be one of ours? */
bool hello_is_welcome(const struct hello *own, const struct hello *other, enum hello_refusal *ret_refusal);

#endif
