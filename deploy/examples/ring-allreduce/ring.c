// SPDX-License-Identifier: Apache-2.0
#include "ring.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "digest.h"

#define MAGIC 0x31676e72 /* "rng1" */
#define ALIGN 64

/* In front of the numbers of each frame. All ranks have one byte order: it is part of what they compare. */
struct header {
	uint32_t magic;
	uint32_t round;
	uint64_t run;
	uint64_t step;
	uint32_t chunk;
	uint32_t from; /* rank that sent it */
	uint64_t count;
	uint64_t digest; /* of the numbers */
	uint8_t pad[16];
};
_Static_assert(sizeof(struct header) == ALIGN, "the numbers lie behind the header without a gap");

size_t ring_chunk_first(unsigned world, size_t count, unsigned chunk)
{
	size_t each = count / world, more = count % world;

	/* The first ones have one more each. */
	return chunk * each + (chunk < more ? chunk : more);
}

size_t ring_chunk_count(unsigned world, size_t count, unsigned chunk)
{
	return count / world + (chunk < count % world);
}

static size_t frame_size(unsigned world, size_t count)
{
	size_t bytes = sizeof(struct header) + ring_chunk_count(world, count, 0) * sizeof(float);

	return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static unsigned rounds(unsigned world)
{
	return 2 * (world - 1);
}

size_t ring_window_size(unsigned world, size_t count)
{
	return (world + rounds(world)) * frame_size(world, count);
}

unsigned ring_chunk_sent(unsigned rank, unsigned world, unsigned round)
{
	/* The all-gather begins with the chunk that became complete here: rank + 1. */
	return (rank + 2 * world - round) % world;
}

unsigned ring_chunk_taken(unsigned rank, unsigned world, unsigned round)
{
	return ring_chunk_sent((rank + world - 1) % world, world, round);
}

static size_t frame_offset(const struct ring *ring, unsigned chunk)
{
	return chunk * frame_size(ring->world, ring->count);
}

static size_t slot_offset(const struct ring *ring, unsigned round)
{
	return (ring->world + round) * frame_size(ring->world, ring->count);
}

static float *numbers_of(const struct ring *ring, size_t offset)
{
	return (float *)(void *)(ring->window + offset + sizeof(struct header));
}

int ring_begin(struct ring *ring, uint64_t step, const float *vector)
{
	if (ring->active || ring->world < 2)
		return -EINVAL;
	for (unsigned chunk = 0; chunk < ring->world; chunk++)
		memcpy(numbers_of(ring, frame_offset(ring, chunk)),
		       vector + ring_chunk_first(ring->world, ring->count, chunk),
		       ring_chunk_count(ring->world, ring->count, chunk) * sizeof(float));
	ring->step = step;
	ring->round = 0;
	ring->active = true;
	ring->sending = false;
	ring->waiting = false;
	return 0;
}

/* Step and round in one number, for who only sees that. */
static uint32_t number_of(uint64_t step, unsigned round)
{
	return (uint32_t)(step & 0xffff) << 16 | round;
}

static int round_send(struct ring *ring)
{
	unsigned chunk = ring_chunk_sent(ring->rank, ring->world, ring->round);
	size_t offset = frame_offset(ring, chunk);
	size_t bytes = ring_chunk_count(ring->world, ring->count, chunk) * sizeof(float);
	struct header header = {
		.magic = MAGIC,
		.round = ring->round,
		.run = ring->run,
		.step = ring->step,
		.chunk = chunk,
		.from = ring->rank,
		.count = bytes / sizeof(float),
		.digest = digest_of(numbers_of(ring, offset), bytes),
	};
	int r;

	memcpy(ring->window + offset, &header, sizeof(header));
	r = ring->io.send(ring->io.data, offset, slot_offset(ring, ring->round), sizeof(header) + bytes,
			  number_of(ring->step, ring->round));
	if (r < 0)
		return r;
	ring->sending = true;
	ring->waiting = true;
	return 0;
}

static int refuse(struct ring *ring, const char *what, uint64_t got, uint64_t wanted)
{
	(void)snprintf(ring->why, sizeof(ring->why),
		       "step %" PRIu64 " round %u: what arrived has %s %" PRIu64 " and not %" PRIu64,
		       ring->step, ring->round, what, got, wanted);
	return -EBADMSG;
}

static int slot_check(struct ring *ring, uint32_t number)
{
	size_t offset = slot_offset(ring, ring->round);
	unsigned chunk = ring_chunk_taken(ring->rank, ring->world, ring->round);
	unsigned left = (ring->rank + ring->world - 1) % ring->world;
	size_t count = ring_chunk_count(ring->world, ring->count, chunk);
	struct header header;
	uint64_t digest;

	if (number != number_of(ring->step, ring->round))
		return refuse(ring, "number", number, number_of(ring->step, ring->round));
	/* A copy: a neighbour may write what he likes whenever he likes. */
	memcpy(&header, ring->window + offset, sizeof(header));
	if (header.magic != MAGIC)
		return refuse(ring, "mark", header.magic, MAGIC);
	if (header.run != ring->run)
		return refuse(ring, "run", header.run, ring->run);
	if (header.step != ring->step)
		return refuse(ring, "step", header.step, ring->step);
	if (header.round != ring->round)
		return refuse(ring, "round", header.round, ring->round);
	if (header.chunk != chunk)
		return refuse(ring, "chunk", header.chunk, chunk);
	if (header.from != left)
		return refuse(ring, "sender", header.from, left);
	if (header.count != count)
		return refuse(ring, "length", header.count, count);
	digest = digest_of(numbers_of(ring, offset), count * sizeof(float));
	if (header.digest != digest)
		return refuse(ring, "digest", header.digest, digest);
	return 0;
}

static void slot_take(struct ring *ring)
{
	unsigned chunk = ring_chunk_taken(ring->rank, ring->world, ring->round);
	size_t count = ring_chunk_count(ring->world, ring->count, chunk);
	const float *from = numbers_of(ring, slot_offset(ring, ring->round));
	float *to = numbers_of(ring, frame_offset(ring, chunk));

	if (ring->round >= ring->world - 1) {
		memcpy(to, from, count * sizeof(float));
		return;
	}
	for (size_t i = 0; i < count; i++)
		to[i] += from[i];
}

int ring_progress(struct ring *ring)
{
	uint32_t number;
	int r;

	while (ring->active) {
		if (!ring->sending && !ring->waiting) {
			r = round_send(ring);
			if (r < 0)
				return r;
		}
		if (ring->waiting) {
			r = ring->io.arrived(ring->io.data, &number);
			if (r < 0)
				return r;
			if (r == 1) {
				r = slot_check(ring, number);
				if (r < 0)
					return r;
				slot_take(ring);
				ring->waiting = false;
			}
		}
		if (ring->sending) {
			r = ring->io.sent(ring->io.data);
			if (r < 0)
				return r;
			ring->sending = r == 0;
		}
		if (ring->sending || ring->waiting)
			return 0;
		if (++ring->round == rounds(ring->world))
			ring->active = false;
	}
	return 1;
}

void ring_result(const struct ring *ring, float *vector)
{
	for (unsigned chunk = 0; chunk < ring->world; chunk++)
		memcpy(vector + ring_chunk_first(ring->world, ring->count, chunk),
		       numbers_of(ring, frame_offset(ring, chunk)),
		       ring_chunk_count(ring->world, ring->count, chunk) * sizeof(float));
}
