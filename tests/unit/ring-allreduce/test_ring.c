// SPDX-License-Identifier: Apache-2.0
/* The ring in memory: a row of ranks in one process whose writes arrive when the test lets them. */
#include "../unit.h"

#include <errno.h>
#include <string.h>

#include "../../../deploy/examples/ring-allreduce/ring.h"
#include "base/cleanup.h"

#define RANKS 9
#define COUNT_MAX 1000
#define QUEUE 64

struct world;

/* A rank and the writes that are on their way to it. */
struct node {
	struct world *world;
	unsigned rank;
	struct ring ring;
	uint32_t queue[QUEUE]; /* numbers that arrived and were not taken */
	unsigned queued;
	bool under_way; /* what it sent last */
	size_t offset, to_offset, bytes;
	uint32_t number;
	bool lost; /* its neighbour is gone */
};

struct world {
	unsigned n;
	uint32_t random;
	struct node node[RANKS];
};

static unsigned pick(struct world *world, unsigned below)
{
	world->random = world->random * 1664525 + 1013904223;
	return (world->random >> 16) % below;
}

static int fake_send(void *data, size_t offset, size_t to_offset, size_t bytes, uint32_t number)
{
	struct node *node = data;

	assert_false(node->under_way);
	assert_true(to_offset + bytes <= ring_window_size(node->world->n, node->ring.count));
	node->under_way = true;
	node->offset = offset;
	node->to_offset = to_offset;
	node->bytes = bytes;
	node->number = number;
	return 0;
}

/* Only now the bytes are read: who changes them too early sends something else. */
static void deliver(struct node *node)
{
	struct node *to = &node->world->node[(node->rank + 1) % node->world->n];

	memcpy(to->ring.window + node->to_offset, node->ring.window + node->offset, node->bytes);
	assert_true(to->queued < QUEUE);
	to->queue[to->queued++] = node->number;
	node->under_way = false;
}

static int fake_sent(void *data)
{
	struct node *node = data;

	if (node->lost)
		return -ECONNRESET;
	return !node->under_way;
}

static int fake_arrived(void *data, uint32_t *ret_number)
{
	struct node *node = data;

	if (node->queued == 0)
		return 0;
	*ret_number = node->queue[0];
	memmove(node->queue, node->queue + 1, --node->queued * sizeof(node->queue[0]));
	return 1;
}

static void world_open(struct world *world, unsigned n, size_t count)
{
	*world = (struct world){ .n = n, .random = n };
	for (unsigned i = 0; i < n; i++) {
		struct node *node = &world->node[i];

		node->world = world;
		node->rank = i;
		node->ring = (struct ring){
			.rank = i,
			.world = n,
			.count = count,
			.run = 42,
			.io = { node, fake_send, fake_sent, fake_arrived },
		};
		node->ring.window = aligned_alloc(64, ring_window_size(n, count));
		assert_non_null(node->ring.window);
		memset(node->ring.window, 0, ring_window_size(n, count));
	}
}

static void world_close(struct world *world)
{
	for (unsigned i = 0; i < world->n; i++)
		free(world->node[i].ring.window);
}

static float value(unsigned rank, uint64_t step, size_t i)
{
	/* Whole numbers: their sums are exact in every order. */
	return (float)((rank + 1) * 1000 + step * 10 + i % 7);
}

static void begin(struct node *node, uint64_t step)
{
	float vector[COUNT_MAX];

	for (size_t i = 0; i < node->ring.count; i++)
		vector[i] = value(node->rank, step, i);
	assert_int_equal(ring_begin(&node->ring, step, vector), 0);
}

static void check(struct node *node, uint64_t step)
{
	float vector[COUNT_MAX];

	ring_result(&node->ring, vector);
	for (size_t i = 0; i < node->ring.count; i++) {
		float wanted = 0;

		for (unsigned rank = 0; rank < node->world->n; rank++)
			wanted += value(rank, step, i);
		if (vector[i] != wanted)
			fail_msg("rank %u of %u, step %u: number %zu is %g and not %g", node->rank,
				 node->world->n, (unsigned)step, i, (double)vector[i], (double)wanted);
	}
}

/* All ranks through steps first .. last in an order of chance: some are a step ahead of others. */
static void run(struct world *world, uint64_t first, uint64_t last)
{
	uint64_t at[RANKS];
	unsigned done = 0;

	for (unsigned i = 0; i < world->n; i++) {
		at[i] = first;
		begin(&world->node[i], first);
	}
	for (unsigned turns = 0; done < world->n; turns++) {
		struct node *node = &world->node[pick(world, world->n)];
		int r;

		assert_true(turns < 1000000);
		if (node->under_way && pick(world, 3) == 0)
			deliver(node);
		if (at[node->rank] > last)
			continue;
		r = ring_progress(&node->ring);
		if (r < 0)
			fail_msg("rank %u: %d: %s", node->rank, r, node->ring.why);
		if (r == 0)
			continue;
		check(node, at[node->rank]);
		if (++at[node->rank] > last)
			done++;
		else
			begin(node, at[node->rank]);
	}
}

static void every_rank_has_the_sum(void **state)
{
	static const size_t counts[] = { 0, 1, 2, 3, 8, 9, 17, 64, 100, 999 };
	struct world world;

	(void)state;
	for (unsigned n = 2; n <= RANKS; n++) {
		for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
			world_open(&world, n, counts[i]);
			run(&world, 0, 12);
			world_close(&world);
		}
	}
}

static void chunks_cover_the_vector_once(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= RANKS; n++) {
		for (size_t count = 0; count < 40; count++) {
			size_t next = 0;

			for (unsigned chunk = 0; chunk < n; chunk++) {
				assert_int_equal(ring_chunk_first(n, count, chunk), next);
				next += ring_chunk_count(n, count, chunk);
				assert_true(ring_chunk_count(n, count, chunk) <= count / n + 1);
			}
			assert_int_equal(next, count);
		}
	}
}

static void neighbours_agree_on_every_round(void **state)
{
	(void)state;
	for (unsigned n = 2; n <= RANKS; n++)
		for (unsigned rank = 0; rank < n; rank++)
			for (unsigned round = 0; round < 2 * (n - 1); round++) {
				unsigned sent = ring_chunk_sent(rank, n, round);

				assert_true(sent < n);
				assert_int_equal(ring_chunk_taken((rank + 1) % n, n, round), sent);
				/* What is passed on is what came the round before. */
				if (round > 0)
					assert_int_equal(sent, ring_chunk_taken(rank, n, round - 1));
			}
}

static void a_world_of_one_has_no_ring(void **state)
{
	struct ring ring = { .world = 1, .count = 1 };
	float vector[1] = { 1 };

	(void)state;
	assert_int_equal(ring_begin(&ring, 0, vector), -EINVAL);
	assert_int_equal(ring_window_size(1, 16), 128);
}

static void a_step_is_not_begun_in_another(void **state)
{
	struct world world;
	float vector[16] = { 0 };

	(void)state;
	world_open(&world, 2, 16);
	begin(&world.node[0], 5);
	assert_int_equal(ring_begin(&world.node[0].ring, 6, vector), -EINVAL);
	world_close(&world);
}

/* Rank 0 and 1 begin step 5; what rank 0 sends is on its way; change it, and rank 1 must say so. */
static void refused(void (*change)(struct node *sender), const char *word)
{
	struct world world;
	struct node *sender = &world.node[0], *taker = &world.node[1];
	float before[16], after[16];

	world_open(&world, 3, 16);
	begin(sender, 5);
	begin(taker, 5);
	assert_int_equal(ring_progress(&sender->ring), 0);
	assert_int_equal(ring_progress(&taker->ring), 0);
	ring_result(&taker->ring, before);
	change(sender);
	deliver(sender);
	assert_int_equal(ring_progress(&taker->ring), -EBADMSG);
	if (!strstr(taker->ring.why, word))
		fail_msg("'%s' does not say '%s'", taker->ring.why, word);
	/* Nothing of it was added. */
	ring_result(&taker->ring, after);
	assert_memory_equal(before, after, sizeof(before));
	world_close(&world);
}

static void change_number(struct node *sender)
{
	sender->number -= 1 << 16;
}

static void change_run(struct node *sender)
{
	sender->ring.window[sender->offset + 8]++;
}

static void change_step(struct node *sender)
{
	sender->ring.window[sender->offset + 16]--;
}

static void change_mark(struct node *sender)
{
	sender->ring.window[sender->offset] = 0;
}

static void change_round(struct node *sender)
{
	sender->ring.window[sender->offset + 4]++;
}

static void change_chunk(struct node *sender)
{
	sender->ring.window[sender->offset + 24]++;
}

static void change_sender(struct node *sender)
{
	sender->ring.window[sender->offset + 28]++;
}

static void change_length(struct node *sender)
{
	sender->ring.window[sender->offset + 39] = 0xff;
}

static void change_payload(struct node *sender)
{
	sender->ring.window[sender->offset + 64] ^= 1;
}

static void cut_short(struct node *sender)
{
	sender->bytes -= 4;
}

static void foreign_late_and_damaged_data_is_refused(void **state)
{
	(void)state;
	refused(change_number, "number");
	refused(change_mark, "mark");
	refused(change_run, "run");
	refused(change_step, "step 4");
	refused(change_round, "round");
	refused(change_chunk, "chunk");
	refused(change_sender, "sender");
	refused(change_length, "length");
	refused(change_payload, "digest");
	refused(cut_short, "digest");
}

static void the_same_data_twice_is_refused(void **state)
{
	struct world world;
	struct node *sender = &world.node[0], *taker = &world.node[1];

	(void)state;
	world_open(&world, 3, 16);
	begin(sender, 5);
	begin(taker, 5);
	assert_int_equal(ring_progress(&sender->ring), 0);
	deliver(sender);
	sender->under_way = true;
	deliver(sender);
	assert_int_equal(ring_progress(&taker->ring), 0);
	deliver(taker);
	assert_int_equal(ring_progress(&taker->ring), -EBADMSG);
	world_close(&world);
}

static void a_lost_neighbour_is_an_error(void **state)
{
	struct world world;

	(void)state;
	world_open(&world, 2, 16);
	begin(&world.node[0], 5);
	world.node[0].lost = true;
	assert_int_equal(ring_progress(&world.node[0].ring), -ECONNRESET);
	world_close(&world);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(every_rank_has_the_sum),
	cmocka_unit_test(chunks_cover_the_vector_once),
	cmocka_unit_test(neighbours_agree_on_every_round),
	cmocka_unit_test(a_world_of_one_has_no_ring),
	cmocka_unit_test(a_step_is_not_begun_in_another),
	cmocka_unit_test(foreign_late_and_damaged_data_is_refused),
	cmocka_unit_test(the_same_data_twice_is_refused),
	cmocka_unit_test(a_lost_neighbour_is_an_error),
};

UNIT_MAIN(tests)
