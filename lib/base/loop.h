/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One epoll loop: descriptors, timers, signals. One thread; every callback
 * runs in loop_run() or loop_step(), never inside the call that made it ready.
 *
 * A source belongs to whoever made it and is freed by loop_source_free(), which
 * may be called at any time, also from the source's own callback or from
 * another source's: a freed source is never called again, not even when its
 * event was already fetched. All sources must be freed before the loop.
 *
 * A callback returns 0 or -errno; an error ends loop_run() with it. So a
 * callback handles what it can and returns only what the program should die of.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdint.h>
#include <sys/signalfd.h>

#include "base/cleanup.h"

struct loop;
struct loop_source;

typedef int loop_fd_fn(int fd, uint32_t events, void *data);
typedef int loop_timer_fn(void *data);
typedef int loop_signal_fn(const struct signalfd_siginfo *info, void *data);

/* 0, -ENOMEM, -EMFILE, -ENFILE. The caller frees. */
int loop_new(struct loop **ret);
void loop_free(struct loop *loop);
DEFINE_CLEANUP(struct loop *, loop_free)

/*
 * Runs until loop_exit() or until a callback fails; returns the code given to
 * loop_exit(), or the callback's error.
 */
int loop_run(struct loop *loop);

/* Makes loop_run() return code after the callback that runs now. */
void loop_exit(struct loop *loop, int code);

/*
 * Waits at most timeout_ms (-1: until something happens) and runs what is
 * ready, once. Returns the number of callbacks run, or an error of one.
 */
int loop_step(struct loop *loop, int timeout_ms);

/*
 * Calls fn while events (EPOLLIN and the like; EPOLLERR and EPOLLHUP always)
 * are pending, level-triggered. The descriptor stays the caller's; he closes
 * it after freeing the source. -EPERM: not a descriptor one can wait for;
 * -EEXIST: it is in this loop already.
 */
int loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn, void *data,
		struct loop_source **ret);

/* Changes the events waited for; 0 events leave only errors and hangup. */
int loop_source_set_events(struct loop_source *source, uint32_t events);

/* A timer, at first not set. Needs no descriptor. */
int loop_add_timer(struct loop *loop, loop_timer_fn *fn, void *data, struct loop_source **ret);

/*
 * Sets a timer to fire once, after_ms milliseconds from now (monotonic; 0: in
 * the next round), in place of what it was set to.
 */
void loop_timer_set(struct loop_source *timer, uint64_t after_ms);
void loop_timer_cancel(struct loop_source *timer);

/*
 * Blocks signo in this thread and calls fn when it arrives. The signal stays
 * blocked after the source is freed, so that a late one kills nothing; a
 * program that forks must unblock it in the child.
 */
int loop_add_signal(struct loop *loop, int signo, loop_signal_fn *fn, void *data, struct loop_source **ret);

/* Accepts NULL. */
void loop_source_free(struct loop_source *source);
DEFINE_CLEANUP(struct loop_source *, loop_source_free)

/* Milliseconds on the monotonic clock, the loop's idea of time. */
uint64_t loop_now_ms(void);

#endif
