// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../../device-plugin/prefer.h"
#include "base/cleanup.h"
#include "sysfs/pci.h"

#define N_MAX 16

/* A node: device i of switch s on socket s/2. */
struct node {
	size_t n;
	struct prefer_device devices[N_MAX];
	char ids[N_MAX][16];
	char paths[N_MAX][128];
};

static void node_add(struct node *node, unsigned sw, unsigned slot, bool ready, bool must)
{
	size_t i = node->n++;

	(void)snprintf(node->ids[i], sizeof(node->ids[i]), "g%u%u", sw, slot);
	(void)snprintf(node->paths[i], sizeof(node->paths[i]),
		       "devices/pci0000:%02x/0000:%02x:01.0/0000:%02x:00.0/0000:%02x:%02x.0/0000:%02x:00.0",
		       sw * 16, sw * 16, sw * 16 + 1, sw * 16 + 2, slot, sw * 16 + 3 + slot);
	node->devices[i] = (struct prefer_device){
		.id = node->ids[i],
		.path = node->paths[i],
		.numa_node = (int)sw / 2,
		.is_ready = ready,
		.must = must,
	};
}

static void expect(const struct node *node, size_t size, const char *wanted)
{
	size_t chosen[N_MAX];
	char got[256] = "";
	int r = prefer_choose(node->devices, node->n, size, chosen);

	assert_true(r >= 0);
	for (int i = 0; i < r; i++) {
		strcat(got, i ? " " : "");
		strcat(got, node->devices[chosen[i]].id);
	}
	assert_string_equal(got, wanted);
}

static void pods_stay_below_one_switch(void **state)
{
	struct node node = {};

	(void)state;
	for (unsigned sw = 0; sw < 4; sw++)
		for (unsigned slot = 0; slot < 2; slot++)
			node_add(&node, sw, slot, true, false);
	expect(&node, 1, "g00");
	expect(&node, 2, "g00 g01");
	expect(&node, 4, "g00 g01 g10 g11");
	expect(&node, 8, "g00 g01 g10 g11 g20 g21 g30 g31");
	expect(&node, 9, "g00 g01 g10 g11 g20 g21 g30 g31");
	expect(&node, 0, "");
}

static void what_is_broken_already_is_taken_first(void **state)
{
	struct node node = {};

	(void)state;
	node_add(&node, 0, 0, true, false);
	node_add(&node, 0, 1, true, false);
	node_add(&node, 2, 1, true, false); /* its neighbour is in use */
	expect(&node, 1, "g21");
	expect(&node, 2, "g00 g01");
}

static void a_device_that_must_drain_is_taken_last(void **state)
{
	struct node node = {};

	(void)state;
	node_add(&node, 0, 0, false, false);
	node_add(&node, 2, 0, true, false);
	node_add(&node, 2, 1, true, false);
	expect(&node, 1, "g20");
	/* But not at the price of another switch. */
	node.devices[1].is_ready = false;
	expect(&node, 2, "g20 g21");
}

static void of_equal_ones_those_with_a_nic_are_taken(void **state)
{
	struct node node = {};

	(void)state;
	for (unsigned sw = 0; sw < 2; sw++)
		for (unsigned slot = 0; slot < 2; slot++)
			node_add(&node, sw, slot, true, false);
	node.devices[3].has_nic = true;
	expect(&node, 1, "g11");
	expect(&node, 2, "g10 g11");
	/* But not at the price of an unbroken switch. */
	node.devices[0] = node.devices[3];
	node.n = 3;
	expect(&node, 1, "g01");
}

static void musts_are_among_the_chosen(void **state)
{
	struct node node = {};

	(void)state;
	node_add(&node, 0, 0, true, false);
	node_add(&node, 0, 1, true, false);
	node_add(&node, 3, 0, true, true);
	node_add(&node, 3, 1, true, false);
	expect(&node, 1, "g30");
	expect(&node, 2, "g30 g31");
	expect(&node, 3, "g00 g01 g30");
	node.devices[0].must = true;
	expect(&node, 1, "g00");
}

static void unknown_places_are_no_error(void **state)
{
	struct prefer_device devices[] = {
		{ .id = "b", .path = "", .numa_node = -1 },
		{ .id = "a", .path = "", .numa_node = -1, .is_ready = true },
	};
	size_t chosen[2];

	(void)state;
	assert_int_equal(prefer_choose(devices, 2, 1, chosen), 1);
	assert_int_equal(chosen[0], 1);
	assert_int_equal(prefer_choose(devices, 0, 1, chosen), 0);
}

/* --- against every choice there is, with a score written a second time --------- */

static bool same_switch(const struct prefer_device *a, const struct prefer_device *b)
{
	size_t len = pci_switch_len(a->path);

	return *a->path && len == pci_switch_len(b->path) && strncmp(a->path, b->path, len) == 0;
}

/* What does not depend on the choice. */
struct table {
	unsigned distance[N_MAX][N_MAX];
	unsigned alike[N_MAX]; /* bits of those under the same switch, itself included */
	unsigned musts, ready, has_nic;
};

static void table_make(const struct node *node, struct table *t)
{
	*t = (struct table){};
	for (size_t i = 0; i < node->n; i++) {
		const struct prefer_device *a = &node->devices[i];

		t->musts |= (unsigned)a->must << i;
		t->ready |= (unsigned)a->is_ready << i;
		t->has_nic |= (unsigned)a->has_nic << i;
		for (size_t j = 0; j < node->n; j++) {
			const struct prefer_device *b = &node->devices[j];

			t->distance[i][j] = pci_distance(a->path, a->numa_node, b->path, b->numa_node);
			t->alike[i] |= (unsigned)(i == j || same_switch(a, b)) << j;
		}
	}
}

#define FIELDS 5

static void score_set(const struct table *t, size_t n, unsigned set, unsigned long long score[FIELDS])
{
	score[0] = score[1] = 0;
	score[2] = (unsigned)__builtin_popcount(set & ~t->ready);
	score[3] = 1000;
	score[4] = (unsigned)__builtin_popcount(set & ~t->has_nic);
	for (size_t i = 0; i < n; i++) {
		unsigned before = (1u << i) - 1, left = t->alike[i] & ~set;

		/* Of each switch the first member counts. */
		if (!(t->alike[i] & before))
			score[3] -= (unsigned long long)__builtin_popcount(left) *
				    (unsigned)__builtin_popcount(left);
		if (!(set & 1u << i))
			continue;
		score[0] += !(t->alike[i] & before & set);
		for (size_t j = 0; j < i; j++)
			if (set & 1u << j)
				score[1] += t->distance[i][j];
	}
}

static int compare(const unsigned long long a[FIELDS], const unsigned long long b[FIELDS])
{
	for (unsigned i = 0; i < FIELDS; i++)
		if (a[i] != b[i])
			return a[i] < b[i] ? -1 : 1;
	return 0;
}

/* As the ids, in ascending order: of two equally good choices the first one is wanted. */
static bool stands_before(const struct node *node, unsigned a, unsigned b)
{
	const char *least = NULL;
	unsigned in = 0;

	for (size_t i = 0; i < node->n; i++)
		if (((a ^ b) & 1u << i) && (!least || strcmp(node->devices[i].id, least) < 0)) {
			least = node->devices[i].id;
			in = a & 1u << i;
		}
	return in != 0;
}

static void check_best(const struct node *node, size_t size)
{
	unsigned long long best[FIELDS] = { ULLONG_MAX }, score[FIELDS];
	unsigned mine = 0, wanted = 0;
	size_t chosen[N_MAX];
	struct table t;
	int r = prefer_choose(node->devices, node->n, size, chosen);

	assert_int_equal(r, size);
	for (int i = 0; i < r; i++)
		mine |= 1u << chosen[i];
	table_make(node, &t);
	for (unsigned set = 0; set < 1u << node->n; set++) {
		int order;

		if ((size_t)__builtin_popcount(set) != size || (set & t.musts) != t.musts)
			continue;
		score_set(&t, node->n, set, score);
		order = compare(score, best);
		if (order < 0)
			memcpy(best, score, sizeof(best));
		if (order < 0 || (order == 0 && stands_before(node, set, wanted)))
			wanted = set;
	}
	assert_int_equal(mine, wanted);
}

static void choices_are_as_good_as_any(void **state)
{
	(void)state;
	srandom(7);
	for (unsigned round = 0; round < 400; round++) {
		struct node node = {};
		size_t n_must = 0, size;

		for (unsigned sw = 0; sw < 4; sw++)
			for (unsigned slot = 0; slot < 2 + (unsigned)(round % 3 == 0); slot++) {
				bool must = random() % 8 == 0;

				if (random() % 4 == 0 || node.n == 8)
					continue;
				n_must += must;
				node_add(&node, sw, slot, random() % 4 != 0, must);
			}
		for (size = n_must ? n_must : 1; size <= node.n; size++)
			check_best(&node, size);
	}
}

/* Machines as nobody builds them: any depth of bridges, functions of one slot, nothing known, all alike. */
static void odd_path(char *path, size_t size, unsigned kind, unsigned i)
{
	size_t len;

	switch (kind) {
	case 0: /* each in a port of its own */
		(void)snprintf(path, size, "devices/pci0000:00/0000:00:%02x.0/0000:%02x:00.0", i, i + 1);
		return;
	case 1: /* each below a host bridge of its own */
		(void)snprintf(path, size, "devices/pci%04x:00/%04x:00:01.0/%04x:01:00.0", i, i, i);
		return;
	case 2: /* functions of few slots under few switches */
		(void)snprintf(
			path, size,
			"devices/pci0000:00/0000:00:%02lx.0/0000:01:00.0/0000:02:%02lx.0/0000:03:%02x.%u",
			random() % 3, random() % 2, i / 8, i % 8);
		return;
	default:
		len = (size_t)snprintf(path, size, "devices/pci%04lx:00", random() % 2);
		for (long depth = random() % 5; depth > 0; depth--)
			len += (size_t)snprintf(path + len, size - len, "/0000:%02lx:%02lx.0", depth,
						random() % 2);
		(void)snprintf(path + len, size - len, "/0000:ff:%02x.0", i);
		if (random() % 8 == 0)
			*path = '\0';
	}
}

static void up_to_sixteen_devices_the_choice_is_the_best_there_is(void **state)
{
	(void)state;
	srandom(11);
	for (unsigned round = 0; round < 60; round++) {
		struct node node = { .n = 9 + (size_t)random() % (N_MAX - 8) };
		size_t n_must = 0, size;

		for (size_t i = 0; i < node.n; i++) {
			bool must = round % 5 == 0 && random() % 6 == 0;

			odd_path(node.paths[i], sizeof(node.paths[i]), round % 6, (unsigned)i);
			(void)snprintf(node.ids[i], sizeof(node.ids[i]), "d%zu", i * 7 % 16);
			node.devices[i] = (struct prefer_device){
				.id = node.ids[i],
				.path = node.paths[i],
				.numa_node = round % 2 ? (int)(random() % 3) - 1 : 0,
				.is_ready = random() % 4 != 0,
				.has_nic = random() % 2 != 0,
				.must = must,
			};
			n_must += must;
		}
		size = 1 + (size_t)random() % node.n;
		check_best(&node, size < n_must ? n_must : size);
	}
}

/* The aim is a millisecond, and `make bench` measures; here only that no size takes another order of time. */
static void hundreds_of_devices_take_no_time(void **state)
{
	enum { N = 256 };
	static struct prefer_device devices[N];
	static char ids[N][16], paths[N][128];
	size_t chosen[N];

	(void)state;
	srandom(13);
	for (unsigned kind = 0; kind < 4; kind++) {
		clock_t begun = clock(); /* of this process, whatever else is running */

		for (unsigned i = 0; i < N; i++) {
			(void)snprintf(ids[i], sizeof(ids[i]), "d%03u", i);
			odd_path(paths[i], sizeof(paths[i]), kind, i);
			devices[i] = (struct prefer_device){ .id = ids[i],
							     .path = paths[i],
							     .numa_node = (int)i % 2,
							     .is_ready = i % 5 != 0 };
		}
		for (size_t size = 1; size <= N; size += 15)
			assert_int_equal(prefer_choose(devices, N, size, chosen), size);
		assert_true(clock() - begun < CLOCKS_PER_SEC);
	}
}

static void more_than_can_be_weighed_is_no_error(void **state)
{
	enum { N = PREFER_MAX + 10 };
	_cleanup_free_ struct prefer_device *devices = calloc(N, sizeof(*devices));
	_cleanup_free_ size_t *chosen = calloc(N, sizeof(*chosen));
	static char ids[N][16];

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		(void)snprintf(ids[i], sizeof(ids[i]), "d%04u", i);
		devices[i] = (struct prefer_device){ .id = ids[i], .path = "", .numa_node = -1 };
	}
	devices[N - 1].must = true;
	assert_int_equal(prefer_choose(devices, N, 2, chosen), 2);
	assert_int_equal(chosen[0], 0);
	assert_int_equal(chosen[1], N - 1);
}

static void many_devices_are_chosen_well_enough(void **state)
{
	enum { N = 64 };
	static struct prefer_device devices[N];
	static char ids[N][16], paths[N][128];
	size_t chosen[N];

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		unsigned sw = i % 8;

		(void)snprintf(ids[i], sizeof(ids[i]), "d%02u", i);
		(void)snprintf(
			paths[i], sizeof(paths[i]),
			"devices/pci0000:%02x/0000:%02x:01.0/0000:%02x:00.0/0000:%02x:%02x.0/0000:%02x:00.0",
			sw * 16, sw * 16, sw * 16 + 1, sw * 16 + 2, i / 8, sw * 16 + 3 + i / 8);
		devices[i] = (struct prefer_device){
			.id = ids[i], .path = paths[i], .numa_node = (int)sw / 4, .is_ready = true
		};
	}
	assert_int_equal(prefer_choose(devices, N, 8, chosen), 8);
	for (unsigned i = 1; i < 8; i++)
		assert_true(same_switch(&devices[chosen[0]], &devices[chosen[i]]));
	assert_int_equal(prefer_choose(devices, N, 32, chosen), 32);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(devices[chosen[i]].numa_node, devices[chosen[0]].numa_node);
	devices[5].must = true;
	assert_int_equal(prefer_choose(devices, N, 8, chosen), 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(chosen[i] % 8, 5);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(pods_stay_below_one_switch),
	cmocka_unit_test(what_is_broken_already_is_taken_first),
	cmocka_unit_test(a_device_that_must_drain_is_taken_last),
	cmocka_unit_test(of_equal_ones_those_with_a_nic_are_taken),
	cmocka_unit_test(musts_are_among_the_chosen),
	cmocka_unit_test(unknown_places_are_no_error),
	cmocka_unit_test(choices_are_as_good_as_any),
	cmocka_unit_test(up_to_sixteen_devices_the_choice_is_the_best_there_is),
	cmocka_unit_test(hundreds_of_devices_take_no_time),
	cmocka_unit_test(more_than_can_be_weighed_is_no_error),
	cmocka_unit_test(many_devices_are_chosen_well_enough),
};

UNIT_MAIN(tests)
