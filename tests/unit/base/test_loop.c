// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>

#include "base/loop.h"

struct world {
	struct loop *loop;
	int pipe[2];
	int other[2];
	struct loop_source *source;
	struct loop_source *second;
	unsigned n_runs;
	unsigned n_second;
	int code;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	assert_int_equal(loop_new(&w->loop), 0);
	assert_int_equal(pipe2(w->pipe, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(w->other, O_CLOEXEC | O_NONBLOCK), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	loop_source_free(w->source);
	loop_source_free(w->second);
	loop_free(w->loop);
	for (int i = 0; i < 2; i++) {
		closep(&w->pipe[i]);
		closep(&w->other[i]);
	}
	free(w);
	return 0;
}

static int count(int fd, uint32_t events, void *data)
{
	struct world *w = data;

	(void)fd;
	assert_true(events != 0);
	w->n_runs++;
	return w->code;
}

static int count_timer(void *data)
{
	struct world *w = data;

	w->n_second++;
	return 0;
}

static void a_descriptor_is_level_triggered(void **state)
{
	struct world *w = *state;

	assert_int_equal(loop_add_fd(w->loop, w->pipe[0], EPOLLIN, count, w, &w->source), 0);
	assert_int_equal(loop_step(w->loop, 0), 0);
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	assert_int_equal(loop_step(w->loop, 1000), 1);
	assert_int_equal(loop_step(w->loop, 1000), 1);
	assert_int_equal(w->n_runs, 2);
	assert_int_equal(loop_source_set_events(w->source, 0), 0);
	assert_int_equal(loop_step(w->loop, 0), 0);
}

static int free_both(int fd, uint32_t events, void *data)
{
	struct world *w = data;

	(void)fd;
	(void)events;
	w->n_runs++;
	loop_source_free(TAKE_PTR(w->source));
	loop_source_free(TAKE_PTR(w->second));
	return 0;
}

static void a_source_freed_in_a_round_is_not_called_in_it(void **state)
{
	struct world *w = *state;

	assert_int_equal(loop_add_fd(w->loop, w->pipe[0], EPOLLIN, free_both, w, &w->source), 0);
	assert_int_equal(loop_add_fd(w->loop, w->other[0], EPOLLIN, free_both, w, &w->second), 0);
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	assert_int_equal(write(w->other[1], "x", 1), 1);
	assert_int_equal(loop_step(w->loop, 1000), 1);
	assert_int_equal(loop_step(w->loop, 0), 0);
	assert_int_equal(w->n_runs, 1);
}

static void a_timer_fires_once_and_never_early(void **state)
{
	struct world *w = *state;
	uint64_t begin = loop_now_ms();

	assert_int_equal(loop_add_timer(w->loop, count_timer, w, &w->second), 0);
	assert_int_equal(loop_step(w->loop, 0), 0);
	loop_timer_set(w->second, 30);
	while (w->n_second == 0)
		assert_true(loop_step(w->loop, -1) >= 0);
	assert_true(loop_now_ms() - begin >= 30);
	assert_int_equal(loop_step(w->loop, 50), 0);
	assert_int_equal(w->n_second, 1);
}

static void a_cancelled_timer_does_not_fire(void **state)
{
	struct world *w = *state;

	assert_int_equal(loop_add_timer(w->loop, count_timer, w, &w->second), 0);
	loop_timer_set(w->second, 1);
	loop_timer_cancel(w->second);
	assert_int_equal(loop_step(w->loop, 20), 0);
	assert_int_equal(w->n_second, 0);
}

static int rearm(void *data)
{
	struct world *w = data;

	w->n_second++;
	loop_timer_set(w->second, 0);
	return 0;
}

static void a_timer_that_sets_itself_does_not_starve_descriptors(void **state)
{
	struct world *w = *state;

	assert_int_equal(loop_add_timer(w->loop, rearm, w, &w->second), 0);
	assert_int_equal(loop_add_fd(w->loop, w->pipe[0], EPOLLIN, count, w, &w->source), 0);
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	loop_timer_set(w->second, 0);
	assert_true(loop_step(w->loop, 0) > 0);
	assert_int_equal(w->n_runs, 1);
	assert_true(w->n_second > 0);
}

static int on_signal(const struct signalfd_siginfo *info, void *data)
{
	struct world *w = data;

	assert_int_equal(info->ssi_signo, SIGUSR1);
	w->n_runs++;
	loop_exit(w->loop, 7);
	return 0;
}

static void a_signal_ends_the_loop(void **state)
{
	struct world *w = *state;

	assert_int_equal(loop_add_signal(w->loop, SIGUSR1, on_signal, w, &w->source), 0);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	assert_int_equal(loop_run(w->loop), 7);
	assert_int_equal(w->n_runs, 1);
	/* After the source is gone, a late signal must not kill. */
	loop_source_free(TAKE_PTR(w->source));
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
}

static void an_error_of_a_callback_ends_the_loop(void **state)
{
	struct world *w = *state;

	w->code = -ENODEV;
	assert_int_equal(loop_add_fd(w->loop, w->pipe[0], EPOLLIN, count, w, &w->source), 0);
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	assert_int_equal(loop_run(w->loop), -ENODEV);
}

static void what_cannot_be_waited_for_is_refused(void **state)
{
	struct world *w = *state;
	_cleanup_close_ int file = open("Makefile", O_RDONLY | O_CLOEXEC);

	assert_true(file >= 0);
	assert_int_equal(loop_add_fd(w->loop, file, EPOLLIN, count, w, &w->source), -EPERM);
	assert_int_equal(loop_add_fd(w->loop, -1, EPOLLIN, count, w, &w->source), -EBADF);
	assert_null(w->source);
	assert_int_equal(loop_add_fd(w->loop, w->pipe[0], EPOLLIN, count, w, &w->source), 0);
	assert_int_equal(loop_add_fd(w->loop, w->pipe[0], EPOLLIN, count, w, &w->second), -EEXIST);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	test(a_descriptor_is_level_triggered),
	test(a_source_freed_in_a_round_is_not_called_in_it),
	test(a_timer_fires_once_and_never_early),
	test(a_cancelled_timer_does_not_fire),
	test(a_timer_that_sets_itself_does_not_starve_descriptors),
	test(a_signal_ends_the_loop),
	test(an_error_of_a_callback_ends_the_loop),
	test(what_cannot_be_waited_for_is_refused),
};

UNIT_MAIN(tests)
