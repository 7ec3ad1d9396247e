// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "../fakefs.h"
#include "base/cleanup.h"
#include "base/fileio.h"
#include "base/log.h"

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

static void an_attribute_is_read_without_its_newline(void **state)
{
	struct fakefs *fs = *state;
	char buf[8];

	fakefs_put(fs, "a/plain", "free\n");
	fakefs_put(fs, "a/bare", "free");
	fakefs_put(fs, "a/empty", "");
	fakefs_put(fs, "a/two", "x\n\n");
	fakefs_put(fs, "a/exact", "1234567\n");
	assert_int_equal(fileio_read_attr(fakefs_root(fs), "a/plain", buf, sizeof(buf)), 4);
	assert_string_equal(buf, "free");
	assert_int_equal(fileio_read_attr(fakefs_root(fs), "a/bare", buf, sizeof(buf)), 4);
	assert_string_equal(buf, "free");
	assert_int_equal(fileio_read_attr(fakefs_root(fs), "a/empty", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "");
	assert_int_equal(fileio_read_attr(fakefs_root(fs), "a/two", buf, sizeof(buf)), 2);
	assert_int_equal(fileio_read_attr(fakefs_root(fs), "a/exact", buf, sizeof(buf)), 7);
	assert_string_equal(buf, "1234567");
}

static void a_bad_attribute_is_an_error(void **state)
{
	struct fakefs *fs = *state;
	char buf[8];

	fakefs_put(fs, "long", "12345678\n");
	fakefs_put(fs, "longer", "1234567\nx");
	fakefs_put_bytes(fs, "zero", "a\0b", 3);
	fakefs_mkdir(fs, "dir");
	fakefs_link(fs, "dangling", "nowhere");
	fakefs_link(fs, "link", "long");
	assert_int_equal(fileio_read_attr(fakefs_root(fs), "missing", buf, sizeof(buf)), -ENOENT);
	assert_int_equal(fileio_read_attr(fakefs_root(fs), "long", buf, sizeof(buf)), -EMSGSIZE);
	assert_int_equal(fileio_read_attr(fakefs_root(fs), "longer", buf, sizeof(buf)), -EMSGSIZE);
	assert_int_equal(fileio_read_attr(fakefs_root(fs), "zero", buf, sizeof(buf)), -EINVAL);
	assert_int_equal(fileio_read_attr(fakefs_root(fs), "dir", buf, sizeof(buf)), -EISDIR);
	assert_int_equal(fileio_read_attr(fakefs_root(fs), "dangling", buf, sizeof(buf)), -ELOOP);
	assert_int_equal(fileio_read_attr(fakefs_root(fs), "link", buf, sizeof(buf)), -ELOOP);
}

static void a_file_is_read_whole_or_not_at_all(void **state)
{
	struct fakefs *fs = *state;
	_cleanup_free_ char *big = malloc(100001);
	_cleanup_free_ char *text = NULL;
	char *untouched = NULL;
	size_t len;

	assert_non_null(big);
	memset(big, 'x', 100000);
	big[100000] = '\0';
	fakefs_put(fs, "big", big);
	fakefs_mkdir(fs, "dir");
	assert_int_equal(fileio_read(fakefs_root(fs), "big", 100000, &text, &len), 0);
	assert_int_equal(len, 100000);
	assert_string_equal(text, big);
	assert_int_equal(fileio_read(fakefs_root(fs), "big", 99999, &untouched, &len), -EMSGSIZE);
	assert_int_equal(fileio_read(fakefs_root(fs), "dir", 10, &untouched, &len), -EISDIR);
	assert_int_equal(fileio_read(fakefs_root(fs), "none", 10, &untouched, &len), -ENOENT);
	assert_null(untouched);
	/* No end of its own: the limit ends it. */
	assert_int_equal(fileio_read(AT_FDCWD, "/dev/zero", 10000, &untouched, NULL), -EMSGSIZE);
	assert_null(untouched);
}

static unsigned count_entries(struct fakefs *fs, const char *path)
{
	_cleanup_closedir_ DIR *dir = opendir(fakefs_join(fs, path));
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	return n - 2;
}

static void an_atomic_write_replaces_and_leaves_nothing_behind(void **state)
{
	struct fakefs *fs = *state;
	struct stat st;

	fakefs_mkdir(fs, "d");
	assert_int_equal(fileio_write_atomic(fakefs_root(fs), "d/pairs.json", "one", 3, 0640), 0);
	assert_int_equal(fileio_write_atomic(fakefs_root(fs), "d/pairs.json", "two!", 4, 0604), 0);
	assert_string_equal(fakefs_get(fs, "d/pairs.json"), "two!");
	assert_int_equal(fstatat(fakefs_root(fs), "d/pairs.json", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0604);
	assert_int_equal(count_entries(fs, "d"), 1);
	assert_int_equal(fileio_write_atomic(AT_FDCWD, fakefs_join(fs, "d/abs"), "", 0, 0600), 0);
	assert_string_equal(fakefs_get(fs, "d/abs"), "");
}

static void a_failed_atomic_write_leaves_everything_as_it_was(void **state)
{
	struct fakefs *fs = *state;

	fakefs_mkdir(fs, "d/sub/full");
	assert_int_equal(fileio_write_atomic(fakefs_root(fs), "none/x", "1", 1, 0600), -ENOENT);
	assert_int_equal(fileio_write_atomic(fakefs_root(fs), "d/", "1", 1, 0600), -EISDIR);
	/* The rename fails: a directory is in the way. */
	assert_int_equal(fileio_write_atomic(fakefs_root(fs), "d/sub", "1", 1, 0600), -EISDIR);
	assert_int_equal(count_entries(fs, "d"), 1);
}

static void directories_are_made_on_the_way(void **state)
{
	struct fakefs *fs = *state;

	assert_int_equal(fileio_mkdirs(fakefs_root(fs), "a/b/c", 0755), 0);
	assert_int_equal(fileio_mkdirs(fakefs_root(fs), "a/b/c/", 0755), 0);
	assert_int_equal(fileio_mkdirs(AT_FDCWD, fakefs_join(fs, "a/x"), 0755), 0);
	assert_int_equal(count_entries(fs, "a"), 2);
	fakefs_put(fs, "file", "");
	assert_int_equal(fileio_mkdirs(fakefs_root(fs), "file", 0755), -ENOTDIR);
	assert_int_equal(fileio_mkdirs(fakefs_root(fs), "file/x", 0755), -ENOTDIR);
	assert_int_equal(fileio_mkdirs(fakefs_root(fs), "", 0755), -ENOENT);
}

static void recorded_trees_are_made_from_text(void **state)
{
	struct fakefs *fs = *state;
	char buf[32];

	fakefs_put(
		fs, "manifest",
		"# a card\n\ndevices/d0/uevent\tMAJOR=261\\nMINOR=0\\n\nclass/d0\t-> ../devices/d0\nempty/\n");
	fakefs_load(fs, fakefs_join(fs, "manifest"));
	assert_string_equal(fakefs_get(fs, "class/d0/uevent"), "MAJOR=261\nMINOR=0\n");
	assert_int_equal(readlinkat(fakefs_root(fs), "class/d0", buf, sizeof(buf)), 13);
	assert_int_equal(count_entries(fs, "empty"), 0);
}

static void leftovers_of_a_killed_writer_are_removed_and_nothing_else(void **state)
{
	static const char *const kept[] = { "d/a.json",
					    "d/.a.json.0123456789abcde",
					    "d/.a.json.0123456789abcdeg",
					    "d/.b.json.0123456789abcdef",
					    "d/a.json.0123456789abcdef",
					    "d/.a.jsonx0123456789abcdef" };
	struct fakefs *fs = *state;

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		fakefs_put(fs, kept[i], "x");
	fakefs_put(fs, "d/.a.json.0123456789abcdef", "half");
	fileio_remove_leftovers(fakefs_root(fs), "d/a.json");
	assert_int_equal(faccessat(fakefs_root(fs), "d/.a.json.0123456789abcdef", F_OK, 0), -1);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		assert_int_equal(faccessat(fakefs_root(fs), kept[i], F_OK, 0), 0);
	fileio_remove_leftovers(fakefs_root(fs), "nowhere/a.json");
}

/* --- log -------------------------------------------------------------------- */

/* What is logged, in a file in place of standard error. */
static const char *logged(struct fakefs *fs, enum log_format format, void (*fn)(void))
{
	int saved = dup(STDERR_FILENO);
	int fd = openat(fakefs_root(fs), "log", O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(saved >= 0 && fd >= 0);
	log_init("unit", LOG_LEVEL_INFO, format);
	assert_true(dup2(fd, STDERR_FILENO) >= 0);
	fn();
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	close(fd);
	log_init(NULL, LOG_LEVEL_INFO, LOG_TEXT);
	return fakefs_get(fs, "log");
}

static void say_things(void)
{
	errno = ENOTTY;
	log_debug("not to be seen");
	log_info("device %s\nerror: forged", "a");
	assert_int_equal(log_error_errno(-ENOENT, "no \"socket\""), -ENOENT);
	assert_int_equal(log_warning_errno(EBUSY, "later"), -EBUSY);
	assert_int_equal(errno, ENOTTY);
}

static void log_lines_are_one_per_event(void **state)
{
	struct fakefs *fs = *state;

	unsetenv("JOURNAL_STREAM");
	assert_string_equal(logged(fs, LOG_TEXT, say_things),
			    "unit: device a?error: forged\n"
			    "unit: error: no \"socket\": No such file or directory\n"
			    "unit: warning: later: Device or resource busy\n");
	setenv("JOURNAL_STREAM", "1:2", 1);
	assert_string_equal(logged(fs, LOG_TEXT, say_things), "<6>device a?error: forged\n"
							      "<3>no \"socket\": No such file or directory\n"
							      "<4>later: Device or resource busy\n");
	unsetenv("JOURNAL_STREAM");
}

static void json_log_lines_are_escaped(void **state)
{
	const char *text = logged(*state, LOG_JSON, say_things);

	assert_non_null(strstr(text, "\"level\":\"info\",\"msg\":\"device a?error: forged\"}\n"));
	assert_non_null(strstr(text, "\"msg\":\"no \\\"socket\\\": No such file or directory\"}\n"));
	assert_non_null(strstr(text, "{\"time\":\"20"));
}

static void say_with_fields(void)
{
	log_fields(LOG_LEVEL_DEBUG, LOG_FIELDS({ "a", "b" }), "not to be seen");
	log_fields(LOG_LEVEL_WARNING,
		   LOG_FIELDS({ "device", "x" }, { "none", "" }, { "reason", "is \"bad\"\xc3" }), "x is %s",
		   "bad");
}

static void fields_are_for_readers_of_json(void **state)
{
	assert_string_equal(logged(*state, LOG_TEXT, say_with_fields), "unit: warning: x is bad\n");
	assert_non_null(strstr(logged(*state, LOG_JSON, say_with_fields),
			       "\"level\":\"warning\",\"device\":\"x\",\"reason\":\"is \\\"bad\\\"?\","
			       "\"msg\":\"x is bad\"}\n"));
}

static void say_much(void)
{
	char text[5000];

	memset(text, '"', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_error("%s", text);
	log_fields(LOG_LEVEL_ERROR, LOG_FIELDS({ "long", text }, { "short", "a" }), "%s", text);
}

static void a_long_log_line_is_cut_and_stays_a_line(void **state)
{
	const char *text = logged(*state, LOG_JSON, say_much);

	assert_true(strlen(text) < 2 * 2100);
	assert_non_null(strstr(text, "\"error\",\"short\":\"a\",\"msg\""));
	assert_string_equal(text + strlen(text) - 5, "\\\"\"}\n");
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	test(an_attribute_is_read_without_its_newline),
	test(a_bad_attribute_is_an_error),
	test(a_file_is_read_whole_or_not_at_all),
	test(an_atomic_write_replaces_and_leaves_nothing_behind),
	test(a_failed_atomic_write_leaves_everything_as_it_was),
	test(directories_are_made_on_the_way),
	test(recorded_trees_are_made_from_text),
	test(leftovers_of_a_killed_writer_are_removed_and_nothing_else),
	test(log_lines_are_one_per_event),
	test(json_log_lines_are_escaped),
	test(fields_are_for_readers_of_json),
	test(a_long_log_line_is_cut_and_stays_a_line),
};

UNIT_MAIN(tests)
