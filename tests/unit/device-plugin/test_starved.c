// SPDX-License-Identifier: Apache-2.0
/*
 * Options, specs, answers and printing without memory: each allocation fails in
 * turn. What cannot be done is said to be so, nothing is half done, nothing leaks.
 */
#include "../unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../../device-plugin/cdi.h"
#include "../../../device-plugin/grant.h"
#include "../../../device-plugin/table.h"
#include "../failalloc.h"
#include "../fake_scan.h"
#include "../fakefs.h"
#include "base/log.h"

struct fixture {
	struct fakefs *fs;
	struct core core;
	struct cdi cdi;
	struct options options;
	char why[640];
	char config[OPTIONS_PATH_MAX];
	FILE *out;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct core_options options = { .mode = "paired" };
	char *argv[] = { (char *)"test", NULL };

	log_init("test", LOG_LEVEL_ERROR, LOG_TEXT);
	f->fs = fakefs_new();
	fakefs_load(f->fs, "tests/unit/sysfs/trees/eight-four.tree");
	core_init(&f->core, &options, NULL, 0);
	assert_true(core_update(&f->core, fake_scan(f->fs), 1000) >= 0);
	cdi_init(&f->cdi, CDI_GAUDIS, fakefs_join(f->fs, "run"), "habana.ai/gaudi");
	fakefs_put(f->fs, "config.json", "{\"version\":1,\"exclude-nic\":[\"eno1\"],\"rescan\":700}");
	(void)snprintf(f->config, sizeof(f->config), "--config=%s", fakefs_join(f->fs, "config.json"));
	assert_int_equal(options_parse(1, argv, &f->options, f->why, sizeof(f->why)), 0);
	f->out = fopen("/dev/null", "w");
	assert_non_null(f->out);
	/* So that it has its buffer. */
	assert_int_equal(fputs("x", f->out) < 0, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	core_done(&f->core);
	(void)fclose(f->out);
	fakefs_free(f->fs);
	free(f);
	return 0;
}

/* Calls fn with each of its allocations failing, and then without; check judges what it returned. */
static void starve(struct fixture *f, int (*fn)(struct fixture *f), void (*check)(struct fixture *f, int r))
{
	unsigned long n = 0;
	long live;

	assert_int_equal(fn(f), 0);
	check(f, 0);
	live = failalloc_live();
	for (bool failed = true; failed; n++) {
		int r;

		failalloc_arm(n);
		failalloc_resume();
		r = fn(f);
		failalloc_pause();
		failed = failalloc_disarm();
		if (!failed)
			assert_int_equal(r, 0);
		check(f, r);
		assert_int_equal(failalloc_live(), live);
	}
	print_message("%lu allocations\n", n - 1);
	assert_true(n > 1);
}

static int read_options(struct fixture *f)
{
	char *argv[] = { (char *)"test", f->config, NULL };

	strcpy(f->why, "");
	return options_parse(2, argv, &f->options, f->why, sizeof(f->why));
}

static void check_options(struct fixture *f, int r)
{
	if (r == 0)
		assert_int_equal(f->options.rescan_ms, 700);
	else if (!strstr(f->why, "config.json: "))
		fail_msg(
			"%s",
			f->why); /* the reason may be a wrong one: jansson calls a word unexpected that it could not keep */
}

static void options_are_read_or_refused(void **state)
{
	starve(*state, read_options, check_options);
}

static int write_spec(struct fixture *f)
{
	(void)unlink(f->cdi.path);
	return cdi_update(&f->cdi, &f->core, true);
}

static void check_spec(struct fixture *f, int r)
{
	struct stat st;

	assert_true(r == 0 || r == -ENOMEM);
	assert_int_equal(cdi_has(&f->cdi, &f->core, "AM00000000"), r == 0);
	assert_int_equal(stat(f->cdi.path, &st) == 0, r == 0);
}

static void a_spec_is_written_or_not_named(void **state)
{
	starve(*state, write_spec, check_spec);
}

static int grant_by_name(struct fixture *f)
{
	const struct grant_options options = { .cdi = &f->cdi, .both = true };
	const char *ids[] = { "AM00000000", "AM00000001", "AM00000002" };
	struct grant grant = {};
	int r = grant_build(&f->core, &options, ids, 3, &grant, f->why, sizeof(f->why));

	if (r == 0)
		assert_int_equal(grant.n_cdi, 3);
	grant_done(&grant);
	return r;
}

static void check_grant(struct fixture *f, int r)
{
	(void)f;
	assert_true(r == 0 || r == -ENOMEM);
}

static void names_are_given_or_the_request_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(cdi_update(&f->cdi, &f->core, true), 0);
	starve(f, grant_by_name, check_grant);
}

static int print_table(struct fixture *f)
{
	return table_print(f->out, &f->core);
}

static int print_json(struct fixture *f)
{
	return table_print_json(f->out, &f->core, &f->options);
}

static void check_print(struct fixture *f, int r)
{
	(void)f;
	assert_true(r == 0 || r == -ENOMEM || r == -EIO);
}

static void what_is_printed_is_whole_or_an_error(void **state)
{
	starve(*state, print_table, check_print);
	starve(*state, print_json, check_print);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	test(options_are_read_or_refused),
	test(a_spec_is_written_or_not_named),
	test(names_are_given_or_the_request_refused),
	test(what_is_printed_is_whole_or_an_error),
};

UNIT_MAIN(tests)
