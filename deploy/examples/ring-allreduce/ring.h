/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring all-reduce: N ranks each hold a vector; afterwards each holds the
 * sum of all, the same bits everywhere. Nothing here knows a NIC: bytes lie in a
 * window of memory, and struct ring_io moves them.
 *
 * The vector is cut into N chunks. In each of N - 1 rounds (reduce-scatter) a
 * rank sends the chunk that it has just added to, to its right, and adds what
 * comes from its left; then one chunk of each rank is complete, and in N - 1 more
 * rounds (all-gather) the complete chunks go round. Chunk c is added up
 * from rank c on, going right: the order depends on nothing but N, so two runs
 * give the same bits, and another N the same to rounding.
 *
 * A window holds N own frames, one for each chunk, and 2(N - 1) slots, one for
 * each round, which the left neighbour writes. A frame is a header and its numbers, so
 * that one RDMA write takes both. A slot needs no permission to be written again: a
 * neighbour that is a step ahead has a sum to which we added all that came
 * in the first N - 1 rounds, and in its next all-gather sums to which we have
 * added in this next step already, after the end of the last one. The header tells
 * late, repeated and foreign data from what is expected: run (one start of
 * the job), step, round, chunk, sender, length and a digest.
 */
#ifndef RING_ALLREDUCE_RING_H
#define RING_ALLREDUCE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_WORLD_MAX 256
#define RING_WHY_SIZE 160

/* Bytes of memory that a ring wants for so many numbers; each frame begins on a multiple of 64. */
size_t ring_window_size(unsigned world, size_t count);

struct ring_io {
	void *data;
	/*
	 * Begins to copy bytes from offset of our window to to_offset of the right neighbour's, and tells
	 * him the number afterwards. They must not change until sent() gives 1.
	 */
	int (*send)(void *data, size_t offset, size_t to_offset, size_t bytes, uint32_t number);
	/* 1: what was sent last is with the neighbour; 0: not yet; -errno. */
	int (*sent)(void *data);
	/* 1: the left neighbour's next write is complete, and its number; 0: not yet; -errno. */
	int (*arrived)(void *data, uint32_t *ret_number);
};

struct ring {
	unsigned rank, world;
	size_t count;	 /* numbers in the vector */
	uint64_t run;	 /* of this start of the job: the same in all ranks, never used again */
	uint8_t *window; /* ring_window_size() bytes, a multiple of 64 */
	struct ring_io io;

	/* Of the step that is under way. */
	uint64_t step;
	unsigned round;
	bool active, sending, waiting;
	char why[RING_WHY_SIZE]; /* words for -EBADMSG */
};

/*
 * Begins a step: vector (count floats) is copied to the window, chunk by chunk. world >= 2. Whoever keeps
 * the numbers of steps gives each one only once in a run.
 */
int ring_begin(struct ring *ring, uint64_t step, const float *vector);

/*
 * Goes on as far as it can without waiting. 1: done, ring_result() may be called; 0: waiting for a neighbour; -EBADMSG: what
 * arrived is not what belongs here, why says so; or an error of io.
 */
int ring_progress(struct ring *ring);

/* Copies the sum out of the window. */
void ring_result(const struct ring *ring, float *vector);

/* Which chunk a rank sends and takes in a round (0 .. 2(world - 1) - 1), and how many numbers a chunk has. */
unsigned ring_chunk_sent(unsigned rank, unsigned world, unsigned round);
unsigned ring_chunk_taken(unsigned rank, unsigned world, unsigned round);
size_t ring_chunk_first(unsigned world, size_t count, unsigned chunk);
size_t ring_chunk_count(unsigned world, size_t count, unsigned chunk);

#endif
