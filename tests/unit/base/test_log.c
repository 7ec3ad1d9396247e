// SPDX-License-Identifier: Apache-2.0
/* Lines that are held back while somebody waits for an answer. */
#include "../unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

struct fixture {
	int stderr_fd;
	int read_fd;
	char text[65536];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fds[2];

	assert_non_null(f);
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	f->stderr_fd = dup(STDERR_FILENO);
	f->read_fd = fds[0];
	(void)dup2(fds[1], STDERR_FILENO);
	(void)close(fds[1]);
	log_init("test", LOG_LEVEL_INFO, LOG_TEXT);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)dup2(f->stderr_fd, STDERR_FILENO);
	(void)close(f->stderr_fd);
	(void)close(f->read_fd);
	log_init(NULL, LOG_LEVEL_INFO, LOG_TEXT);
	free(f);
	return 0;
}

/* What was written since the last look. */
static const char *written(struct fixture *f)
{
	ssize_t n = read(f->read_fd, f->text, sizeof(f->text) - 1);

	assert_true(n >= 0 || errno == EAGAIN);
	f->text[n > 0 ? n : 0] = '\0';
	return f->text;
}

static void held_lines_come_at_the_end_and_in_order(void **state)
{
	struct fixture *f = *state;

	log_hold();
	log_info("one");
	log_info("two");
	assert_string_equal(written(f), "");
	log_release();
	assert_string_equal(written(f), "test: one\ntest: two\n");
	log_info("three");
	assert_string_equal(written(f), "test: three\n");
}

static void a_warning_goes_out_at_once_behind_what_was_said_before(void **state)
{
	struct fixture *f = *state;

	log_hold();
	log_info("one");
	log_warning("two");
	assert_string_equal(written(f), "test: one\ntest: warning: two\n");
	log_info("three");
	assert_string_equal(written(f), "");
	log_release();
	assert_string_equal(written(f), "test: three\n");
}

static void only_the_outermost_release_writes(void **state)
{
	struct fixture *f = *state;

	log_hold();
	log_hold();
	log_info("one");
	log_release();
	assert_string_equal(written(f), "");
	log_release();
	assert_string_equal(written(f), "test: one\n");
}

/* As many as there are devices; they are written when some kilobytes are there, whole and in order. */
static void more_than_can_be_held_is_written_and_not_lost(void **state)
{
	struct fixture *f = *state;
	const char *text;
	int found = 0;

	log_hold();
	for (int i = 0; i < 1000; i++)
		log_info("line %03d of a thousand", i);
	text = written(f);
	assert_true(strlen(text) > 0);
	for (int n, at; sscanf(text, "test: line %d of a thousand\n%n", &n, &at) == 1; text += at)
		assert_int_equal(n, found++);
	assert_string_equal(text, "");
	assert_true(found < 1000);
	log_release();
	text = written(f);
	for (int n, at; sscanf(text, "test: line %d of a thousand\n%n", &n, &at) == 1; text += at)
		assert_int_equal(n, found++);
	assert_int_equal(found, 1000);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(held_lines_come_at_the_end_and_in_order, setup, teardown),
	cmocka_unit_test_setup_teardown(a_warning_goes_out_at_once_behind_what_was_said_before, setup,
					teardown),
	cmocka_unit_test_setup_teardown(only_the_outermost_release_writes, setup, teardown),
	cmocka_unit_test_setup_teardown(more_than_can_be_held_is_written_and_not_lost, setup, teardown),
};

UNIT_MAIN(tests)
