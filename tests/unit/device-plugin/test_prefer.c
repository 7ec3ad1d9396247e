// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../../../device-plugin/prefer.h"
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
	return strncmp(a->path, b->path, strlen("devices/pci0000:00/0000:00:01.0/0000:01:00.0")) == 0;
}

static void score_set(const struct node *node, unsigned set, unsigned long long score[4])
{
	memset(score, 0, 4 * sizeof(*score));
	score[3] = 1000;
	for (size_t i = 0; i < node->n; i++) {
		const struct prefer_device *a = &node->devices[i];
		bool first = true, first_left = true;
		unsigned left = 0;

		for (size_t j = 0; j < node->n; j++) {
			const struct prefer_device *b = &node->devices[j];

			if (!(set & 1u << j) && same_switch(a, b)) {
				left++;
				first_left = first_left && j >= i;
			}
			if (!(set & 1u << i) || !(set & 1u << j) || j >= i)
				continue;
			first = first && !same_switch(a, b);
			score[1] += pci_distance(a->path, a->numa_node, b->path, b->numa_node);
		}
		if (set & 1u << i) {
			score[0] += first;
			score[2] += !a->is_ready;
		} else if (first_left) {
			score[3] -= (unsigned long long)left * left;
		}
	}
}

static int compare(const unsigned long long a[4], const unsigned long long b[4])
{
	for (unsigned i = 0; i < 4; i++)
		if (a[i] != b[i])
			return a[i] < b[i] ? -1 : 1;
	return 0;
}

static void check_best(const struct node *node, size_t size)
{
	unsigned long long best[4] = { ULLONG_MAX }, score[4];
	unsigned musts = 0, mine = 0;
	size_t chosen[N_MAX];
	int r = prefer_choose(node->devices, node->n, size, chosen);

	assert_int_equal(r, size);
	for (int i = 0; i < r; i++)
		mine |= 1u << chosen[i];
	assert_int_equal(__builtin_popcount(mine), size);
	for (size_t i = 0; i < node->n; i++)
		musts |= (unsigned)node->devices[i].must << i;
	for (unsigned set = 0; set < 1u << node->n; set++) {
		if ((size_t)__builtin_popcount(set) != size || (set & musts) != musts)
			continue;
		score_set(node, set, score);
		if (compare(score, best) < 0)
			memcpy(best, score, sizeof(best));
	}
	assert_int_equal(mine & musts, musts);
	score_set(node, mine, score);
	assert_int_equal(compare(score, best), 0);
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
	cmocka_unit_test(musts_are_among_the_chosen),
	cmocka_unit_test(unknown_places_are_no_error),
	cmocka_unit_test(choices_are_as_good_as_any),
	cmocka_unit_test(many_devices_are_chosen_well_enough),
};

UNIT_MAIN(tests)
