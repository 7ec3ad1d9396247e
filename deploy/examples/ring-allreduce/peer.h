/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of the meeting, as both sides see it. */
#ifndef RING_ALLREDUCE_PEER_H
#define RING_ALLREDUCE_PEER_H

#include <stddef.h>
#include <stdint.h>

#include "lines/words.h"
#include "meet.h"

/* How often a wait looks at what is no descriptor: the signal to stop. */
#define PEER_TICK_MS 100

struct peer {
	int fd; /* -EBADF: none */
	size_t len;
	char buf[WORDS_LINE_SIZE];
};

void peer_close(struct peer *peer);

/* More bytes, without waiting. 0, -ECONNRESET (closed), -EMSGSIZE (a line too long) or another error. */
int peer_receive(struct peer *peer);

/* The next line of what was received; 1, 0: none is whole. */
int peer_line(struct peer *peer, char line[WORDS_LINE_SIZE]);

/* Sends within some seconds, or not: who does not read shall not hold up the others. */
int peer_send(struct peer *peer, const char *text, size_t len);
int peer_say(struct peer *peer, const char *line);

/* Waits for one line, until the deadline of loop's clock. -ETIMEDOUT, -ECANCELED, or as peer_receive(). */
int peer_wait_line(struct peer *peer, uint64_t deadline_ms, char line[WORDS_LINE_SIZE]);

/* Milliseconds on the monotonic clock. */
uint64_t peer_now_ms(void);

struct meet {
	unsigned rank, world;
	uint64_t deadline_ms; /* of the joining */
	/* Rank 0: one for each rank, its own unused. Others: [0] is rank 0. */
	struct peer *peer;
	size_t n_peers;
};

/* The two ways to fill one: rank 0's and the others'. */
int host_gather(struct meet *meet, const struct meet_options *options, const struct hello *own,
		struct hello_plan *ret_plan);
int join_host(struct meet *meet, const struct meet_options *options, const struct hello *own,
	      struct hello_plan *ret_plan);

#endif
