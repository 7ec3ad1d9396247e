// SPDX-License-Identifier: Apache-2.0
/* Scanning and deciding without memory: each allocation fails in turn, and what was known stays as it was. */
#include "../unit.h"

#include <errno.h>
#include <string.h>

#include "../../../device-plugin/core.h"
#include "../failalloc.h"
#include "../fakefs.h"
#include "base/log.h"

#define TREES "tests/unit/sysfs/trees/"

struct fixture {
	struct fakefs *fs;
	struct sysfs_root root;
	struct core core;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct core_options options = { .mode = "paired-strict" };

	assert_non_null(f);
	log_init("test", LOG_LEVEL_ERROR, LOG_TEXT);
	f->fs = fakefs_new();
	fakefs_load(f->fs, TREES "vfs-two-ports.tree");
	assert_int_equal(sysfs_root_open(&f->root, fakefs_join(f->fs, "sys")), 0);
	core_init(&f->core, &options, NULL, 1000);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	core_done(&f->core);
	sysfs_root_done(&f->root);
	fakefs_free(f->fs);
	free(f);
	return 0;
}

static int scan(struct fixture *f, uint64_t now_ms)
{
	struct inventory *inv = NULL;
	int r = inventory_scan(&f->root, &inv);

	return r < 0 ? r : core_update(&f->core, inv, now_ms);
}

/* All that is decided, as text. */
static void describe(const struct core *core, char *text, size_t size)
{
	_cleanup_free_ char *pairs = core->pairs ? pairs_format(core->pairs) : NULL;
	size_t len = (size_t)snprintf(text, size, "%s", pairs ? pairs : "");

	for (size_t i = 0; i < core->n_device; i++)
		len += (size_t)snprintf(text + len, size - len, "%s %s\n", core->device[i].gaudi->id,
					core->device[i].health.reason);
	for (size_t i = 0; i < core->n_nic; i++)
		len += (size_t)snprintf(text + len, size - len, "%s %d\n", core->nic[i].name.pci,
					core->nic[i].is_offered);
	assert_true(len < size);
}

static void a_scan_that_fails_leaves_everything_as_it_was(void **state)
{
	static char before[16384], after[16384], wanted[16384];
	struct fixture *f = *state;
	unsigned long n = 0;
	long live;

	assert_true(scan(f, 1000) >= 0);
	describe(&f->core, before, sizeof(before));
	/* A Gaudi and a port with its functions go; later the pairs and the list of NICs change. */
	fakefs_remove(f->fs, "sys/class/accel/accel0");
	fakefs_remove(f->fs, "sys/class/infiniband_verbs/uverbs5");
	live = failalloc_live();
	for (bool more = true; more; n++) {
		int r;

		failalloc_arm(n);
		failalloc_resume();
		r = scan(f, 1000);
		failalloc_pause();
		more = failalloc_disarm();
		describe(&f->core, after, sizeof(after));
		if (!more)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_string_equal(after, before);
		assert_int_equal(failalloc_live(), live);
	}
	assert_true(n > 20);
	assert_string_not_equal(after, before);
	/* The one that went well is as if none had failed. */
	core_done(&f->core);
	core_init(&f->core, &(struct core_options){ .mode = "paired-strict" }, NULL, 1000);
	fakefs_load(f->fs, TREES "vfs-two-ports.tree");
	(void)scan(f, 1000);
	fakefs_remove(f->fs, "sys/class/accel/accel0");
	fakefs_remove(f->fs, "sys/class/infiniband_verbs/uverbs5");
	(void)scan(f, 1000);
	describe(&f->core, wanted, sizeof(wanted));
	assert_string_equal(after, wanted);
}

static void a_refresh_that_fails_gives_nothing(void **state)
{
	struct fixture *f = *state;
	struct inventory *inv = NULL;

	assert_true(scan(f, 1000) >= 0);
	for (unsigned long n = 0;; n++) {
		long live = failalloc_live();
		int r;

		failalloc_arm(n);
		failalloc_resume();
		r = inventory_refresh(&f->root, f->core.inventory, &inv);
		failalloc_pause();
		if (!failalloc_disarm())
			break;
		assert_int_equal(r, -ENOMEM);
		assert_null(inv);
		assert_int_equal(failalloc_live(), live);
	}
	assert_true(inventory_equal(inv, f->core.inventory));
	inventory_free(inv);
}

static void a_choice_that_fails_says_so_and_leaks_nothing(void **state)
{
	struct fixture *f = *state;
	const char *ids[] = { "0000:19:00.0", "0000:1a:00.0", "nobody" }, *chosen[3] = {};

	assert_true(scan(f, 1000) >= 0);
	for (unsigned long n = 0;; n++) {
		long live = failalloc_live();
		int r;

		failalloc_arm(n);
		failalloc_resume();
		r = core_prefer(&f->core, ids, 3, ids, 1, 2, chosen);
		failalloc_pause();
		if (!failalloc_disarm()) {
			assert_int_equal(r, 2);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_int_equal(failalloc_live(), live);
	}
	assert_string_equal(chosen[0], ids[0]);
	assert_string_equal(chosen[1], ids[1]);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(a_scan_that_fails_leaves_everything_as_it_was, setup, teardown),
	cmocka_unit_test_setup_teardown(a_refresh_that_fails_gives_nothing, setup, teardown),
	cmocka_unit_test_setup_teardown(a_choice_that_fails_says_so_and_leaks_nothing, setup, teardown),
};

UNIT_MAIN(tests)
