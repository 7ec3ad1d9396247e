// SPDX-License-Identifier: Apache-2.0
/* What the plugin makes of every recorded node, whole and with parts missing. */
#include "../unit.h"

#include <string.h>

#include "../../../device-plugin/core.h"
#include "../fake_plugin.h"
#include "../fakefs.h"
#include "base/log.h"
#include "sysfs/pci.h"

#define TREES "tests/unit/sysfs/trees/"

struct fixture {
	struct fakefs *fs;
	struct core core;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_init("test", LOG_LEVEL_ERROR, LOG_TEXT);
	f->fs = fakefs_new();
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	core_done(&f->core);
	fakefs_free(f->fs);
	free(f);
	return 0;
}

static int scan(struct fixture *f, uint64_t now_ms)
{
	return fake_plugin_scan(&f->core, f->fs, now_ms);
}

static unsigned count_healthy(const struct core *core)
{
	unsigned n = 0;

	for (size_t i = 0; i < core->n_device; i++)
		n += core->device[i].health.healthy;
	return n;
}

static unsigned count_paired(const struct core *core)
{
	unsigned n = 0;

	for (size_t i = 0; i < core->pairs->n; i++)
		n += core->pairs->pair[i].has_nic;
	return n;
}

/* --- whole ---------------------------------------------------------------------- */

static void every_recorded_node_is_understood(void **state)
{
	static const struct {
		const char *tree;
		unsigned gaudis, healthy, paired, strict; /* healthy ones with paired-strict */
		unsigned separate;			  /* NICs in mode separate */
	} nodes[] = {
		{ TREES "one-card.tree", 1, 1, 0, 0, 0 },      { TREES "eight-eight.tree", 8, 8, 8, 8, 8 },
		{ TREES "eight-four.tree", 8, 8, 4, 4, 4 },    { TREES "vfs.tree", 4, 4, 4, 4, 4 },
		{ TREES "vfs-two-ports.tree", 2, 2, 2, 2, 6 }, { TREES "no-numa.tree", 2, 2, 2, 2, 2 },
		{ TREES "twelve.tree", 12, 12, 0, 0, 0 },      { TREES "mainline.tree", 2, 2, 0, 0, 0 },
		{ TREES "in-pod.tree", 2, 2, 0, 0, 1 },	       { TREES "lab.tree", 2, 2, 2, 2, 2 },
		{ TREES "broken.tree", 6, 4, 1, 1, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		struct fixture *f = *state;

		fakefs_load(f->fs, nodes[i].tree);
		fake_plugin_core(&f->core, "paired");
		assert_true(scan(f, 1000) >= 0);
		if (f->core.n_device != nodes[i].gaudis || count_healthy(&f->core) != nodes[i].healthy ||
		    count_paired(&f->core) != nodes[i].paired)
			fail_msg("%s: %zu Gaudis, %u healthy, %u paired", nodes[i].tree, f->core.n_device,
				 count_healthy(&f->core), count_paired(&f->core));
		fake_plugin_core(&f->core, "paired-strict");
		(void)scan(f, 1000);
		if (count_healthy(&f->core) != nodes[i].strict)
			fail_msg("%s: %u healthy strictly", nodes[i].tree, count_healthy(&f->core));
		fake_plugin_core(&f->core, "separate");
		(void)scan(f, 1000);
		if (f->core.n_nic != nodes[i].separate || count_paired(&f->core) != 0)
			fail_msg("%s: %zu NICs separately", nodes[i].tree, f->core.n_nic);
		fake_plugin_core(&f->core, "none");
		(void)scan(f, 1000);
		assert_int_equal(f->core.n_nic, 0);
		assert_int_equal(count_paired(&f->core), 0);
		assert_int_equal(count_healthy(&f->core), nodes[i].healthy);
		fakefs_remove(f->fs, "sys");
	}
}

/* --- with parts missing ------------------------------------------------------------ */

static void check(const struct core *core)
{
	for (size_t i = 0; i < core->n_device; i++) {
		const struct device *device = &core->device[i];

		assert_ptr_equal(core_find(core, device->gaudi->id), device);
		assert_int_equal(device->health.healthy, !device->health.reason[0]);
	}
	for (size_t i = 0; i < core->pairs->n; i++) {
		const struct pairs_pair *pair = &core->pairs->pair[i];

		assert_true(!pair->has_nic || pci_addr_is_valid(pair->nic.pci));
		assert_true(!pair->has_nic || pairs_find_nic(core->pairs, pair->nic.pci) == pair);
	}
}

/* The paths of a recorded tree, those of the directories above included. */
static size_t paths_of(const char *tree, char paths[][256], size_t max)
{
	_cleanup_fclose_ FILE *file = fopen(tree, "re");
	char line[2048];
	size_t n = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		size_t len = strcspn(line, "\t\n");

		if (line[0] == '#')
			continue;
		line[len] = '\0';
		for (size_t i = strlen("sys/"); i <= len; i++) {
			bool is_known = false;

			if (line[i] != '/' && line[i] != '\0')
				continue;
			for (size_t k = 0; k < n; k++)
				is_known = is_known || (strncmp(paths[k], line, i) == 0 && !paths[k][i]);
			if (is_known)
				continue;
			assert_true(n < max && i < sizeof(paths[0]));
			memcpy(paths[n], line, i);
			paths[n++][i] = '\0';
		}
	}
	return n;
}

static void remove_each(struct fixture *f, const char *tree)
{
	static char paths[2000][256];
	size_t n = paths_of(tree, paths, ARRAY_SIZE(paths));

	assert_true(n > 20);
	fakefs_load(f->fs, tree);
	for (size_t i = 0; i < n; i++) {
		fake_plugin_core(&f->core, i % 2 ? "paired" : "paired-strict");
		(void)scan(f, 1000);
		check(&f->core);
		assert_int_equal(renameat(fakefs_root(f->fs), paths[i], fakefs_root(f->fs), "away"), 0);
		assert_true(scan(f, 2000) >= 0);
		check(&f->core);
		/* What was missing comes back: as if nothing had been. */
		assert_int_equal(renameat(fakefs_root(f->fs), "away", fakefs_root(f->fs), paths[i]), 0);
		assert_true(scan(f, 3000) >= 0);
		check(&f->core);
		assert_int_equal(count_healthy(&f->core), f->core.n_device);
	}
	fakefs_remove(f->fs, "sys");
}

static void whatever_vanishes_from_a_node_comes_back(void **state)
{
	remove_each(*state, TREES "lab.tree");
	remove_each(*state, TREES "vfs-two-ports.tree");
}

/* --- in time ------------------------------------------------------------------------ */

static void a_driver_that_is_loaded_later_is_found(void **state)
{
	struct fixture *f = *state;

	fakefs_load(f->fs, TREES "eight-eight.tree");
	fakefs_remove(f->fs, "sys/class/accel");
	fake_plugin_core(&f->core, "paired");
	(void)scan(f, 1000);
	assert_int_equal(f->core.n_device, 0);
	assert_int_equal(f->core.n_nic, 8);
	assert_false(core_offers_nics(&f->core)); /* they wait for their Gaudis */
	fakefs_load(f->fs, TREES "eight-eight.tree");
	assert_true(scan(f, 1000 + 100 * CORE_NIC_SINGLE_MS) & CORE_PAIRS);
	assert_int_equal(count_healthy(&f->core), 8);
	assert_int_equal(count_paired(&f->core), 8);
	assert_int_equal(f->core.n_nic, 0);
}

static void a_card_that_is_plugged_in_joins_and_the_others_stay(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *before = NULL, *after = NULL;

	fakefs_load(f->fs, TREES "eight-eight.tree");
	fakefs_remove(f->fs, "sys/class/accel/accel3");
	fakefs_remove(f->fs, "sys/class/infiniband_verbs/uverbs5");
	fake_plugin_core(&f->core, "paired");
	(void)scan(f, 1000);
	assert_int_equal(f->core.n_device, 7);
	assert_int_equal(count_paired(&f->core), 7);
	before = pairs_format(f->core.pairs);
	fakefs_load(f->fs, TREES "eight-eight.tree");
	(void)scan(f, 2000);
	assert_int_equal(f->core.n_device, 8);
	assert_int_equal(count_paired(&f->core), 8);
	after = pairs_format(f->core.pairs);
	/* One line each for the new pair, the rest word for word as before. */
	for (char *line = strtok(before, "\n"); line; line = strtok(NULL, "\n"))
		if (strstr(line, "\"pci\""))
			assert_non_null(strstr(after, line));
}

static void what_a_pod_holds_keeps_its_pair_over_a_restart(void **state)
{
	struct fixture *f = *state;
	const char *id = "0000:03:00.0";
	struct core_options options = { .mode = "paired" };
	struct pairs *pairs;

	fakefs_load(f->fs, TREES "lab.tree");
	fake_plugin_core(&f->core, "paired");
	(void)scan(f, 1000);
	/* Another process begins with the file; its lease is free, but the kubelet has given it away. */
	pairs = TAKE_PTR(f->core.pairs);
	core_done(&f->core);
	core_init(&f->core, &options, pairs, 1000);
	(void)scan(f, 1000);
	(void)core_account(&f->core, &id, 1, 1, 1000, 1000);
	fakefs_remove(f->fs, "sys/class/infiniband_verbs/uverbs0");
	fakefs_remove(f->fs, "sys/class/infiniband/rxe0");
	(void)scan(f, 2000);
	(void)scan(f, 2000 + 10 * CORE_NIC_MISSING_MS);
	assert_string_equal(core_nic_of(&f->core, id)->rdma, "rxe0");
	/* The pod has gone, and so may the pair. */
	(void)core_account(&f->core, NULL, 0, 1, 900000, 900000);
	(void)scan(f, 2000000);
	assert_null(core_nic_of(&f->core, id));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(every_recorded_node_is_understood, setup, teardown),
	cmocka_unit_test_setup_teardown(whatever_vanishes_from_a_node_comes_back, setup, teardown),
	cmocka_unit_test_setup_teardown(a_driver_that_is_loaded_later_is_found, setup, teardown),
	cmocka_unit_test_setup_teardown(a_card_that_is_plugged_in_joins_and_the_others_stay, setup, teardown),
	cmocka_unit_test_setup_teardown(what_a_pod_holds_keeps_its_pair_over_a_restart, setup, teardown),
};

UNIT_MAIN(tests)
