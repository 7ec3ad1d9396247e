// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../failopen.h"
#include "../fakefs.h"
#include "../sandbox.h"
#include "node/nodefile.h"

static int setup(void **state)
{
	*state = fakefs_new();
	return 0;
}

static int teardown(void **state)
{
	fakefs_free(*state);
	return 0;
}

static bool exists(struct fakefs *fs, const char *path)
{
	return faccessat(fakefs_root(fs), path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void only_an_empty_folder_is_removed(void **state)
{
	struct fakefs *fs = *state;
	int root = fakefs_root(fs);

	fakefs_mkdir(fs, "a/empty");
	fakefs_mkdir(fs, "a/target");
	fakefs_put(fs, "a/used/file", "");
	fakefs_put(fs, "a/file", "");
	fakefs_link(fs, "a/link", "target");
	for (const char *const *path = (const char *const[]){ "a/empty", "a/used", "a/file", "a/link",
							      "a/none", "b/none", NULL };
	     *path; path++)
		assert_int_equal(nodefile_remove_folder(root, *path), 0);
	assert_false(exists(fs, "a/empty"));
	assert_true(exists(fs, "a/used/file") && exists(fs, "a/file") && exists(fs, "a/link") &&
		    exists(fs, "a/target"));
}

static void what_is_mounted_is_told(void **state)
{
	struct fakefs *fs = *state;
	int root;

	if (!sandbox_enter())
		skip();
	fakefs_mkdir(fs, "a");
	sandbox_bind(fakefs_join(fs, "a"), fakefs_join(fs, "a"), false);
	root = open(fakefs_path(fs), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(nodefile_remove_folder(root, "a"), -EBUSY);
	sandbox_unmount(fakefs_join(fs, "a"));
	assert_int_equal(nodefile_remove_folder(root, "a"), 0);
	(void)close(root);
}

#define OURS                                           \
	(const struct nodefile_ours[])                 \
	{                                              \
		{ .path = "a/file" },                  \
		{                                      \
			.path = "a", .is_shared = true \
		}                                      \
	}

static void nothing_is_left_but_what_others_need(void **state)
{
	struct fakefs *fs = *state;
	int root = fakefs_root(fs);
	struct report report = { 0 };

	assert_true(nodefile_absent(root, OURS, 2, &report));
	fakefs_put(fs, "a/file", "");
	assert_false(nodefile_absent(root, OURS, 2, &report));
	assert_int_equal(report.outcome, REPORT_MISSING);
	assert_string_equal(report.text, "/a/file is still there");
	fakefs_remove(fs, "a/file");
	assert_false(nodefile_absent(root, OURS, 2, &report));
	assert_string_equal(report.text, "/a is still there");
	/* Also a link that leads nowhere is something. */
	fakefs_link(fs, "a/file", "none");
	assert_false(nodefile_absent(root, OURS, 2, &report));
	fakefs_remove(fs, "a/file");
	fakefs_put(fs, "a/of-others", "");
	assert_true(nodefile_absent(root, OURS, 2, &report));
	/* What is in the place of a folder is nobody's to remove here. */
	fakefs_remove(fs, "a");
	fakefs_mkdir(fs, "empty");
	fakefs_link(fs, "a", "empty");
	assert_true(nodefile_absent(root, OURS, 2, &report));
	fakefs_remove(fs, "a");
	fakefs_put(fs, "a", "");
	assert_true(nodefile_absent(root, OURS, 2, &report));
}

static void what_cannot_be_looked_at_is_not_taken_for_absent(void **state)
{
	struct fakefs *fs = *state;
	bool more = true;
	unsigned long n = 0;

	fakefs_mkdir(fs, "a");
	for (; more; n++) {
		struct report report = { 0 };

		failopen_arm(n, EMFILE);
		assert_false(nodefile_absent(fakefs_root(fs), OURS, 2, &report));
		more = failopen_disarm();
		assert_int_equal(report.outcome, more ? REPORT_FAILED : REPORT_MISSING);
		if (more)
			assert_string_equal(report.text, "cannot look at /a: Too many open files");
	}
	assert_true(n > 2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
	T(only_an_empty_folder_is_removed),
	T(what_is_mounted_is_told),
	T(nothing_is_left_but_what_others_need),
	T(what_cannot_be_looked_at_is_not_taken_for_absent),
};

UNIT_MAIN(tests)
