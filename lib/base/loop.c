// SPDX-License-Identifier: Apache-2.0
#include "base/loop.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/list.h"

#define EVENTS_PER_ROUND 32

enum source_kind {
	SOURCE_FD,
	SOURCE_TIMER,
	SOURCE_SIGNAL,
};

struct loop_source {
	struct loop *loop;
	struct list node; /* in loop->sources, or loop->dead */
	enum source_kind kind;
	bool dead;
	int fd;	    /* SOURCE_SIGNAL: ours */
	bool armed; /* SOURCE_TIMER */
	uint64_t due_ms;
	union {
		loop_fd_fn *on_fd;
		loop_timer_fn *on_timer;
		loop_signal_fn *on_signal;
	};
	void *data;
};

struct loop {
	int epoll_fd;
	bool dispatching;
	bool exiting;
	int exit_code;
	struct list sources;
	struct list dead; /* freed in this round; fetched events may still point to them */
};

uint64_t loop_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int loop_new(struct loop **ret)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return -ENOMEM;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		int r = negative_errno();

		free(loop);
		return r;
	}
	list_init(&loop->sources);
	list_init(&loop->dead);
	*ret = loop;
	return 0;
}

static void source_destroy(struct loop_source *source)
{
	list_unlink(&source->node);
	free(source);
}

static void loop_bury(struct loop *loop)
{
	struct list *node, *tmp;

	list_for_each_safe(node, tmp, &loop->dead)
		source_destroy(list_entry(node, struct loop_source, node));
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	/* Sources left by a mistake of the caller: no leak on top of it. */
	while (!list_is_empty(&loop->sources))
		loop_source_free(list_first(&loop->sources, struct loop_source, node));
	loop_bury(loop);
	closep(&loop->epoll_fd);
	free(loop);
}

void loop_source_free(struct loop_source *source)
{
	struct loop *loop;

	if (!source || source->dead)
		return;
	loop = source->loop;
	if (source->fd >= 0)
		(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	if (source->kind == SOURCE_SIGNAL)
		closep(&source->fd);
	source->dead = true;
	list_unlink(&source->node);
	list_append(&loop->dead, &source->node);
	if (!loop->dispatching)
		loop_bury(loop);
}

static struct loop_source *source_new(struct loop *loop, enum source_kind kind, void *data)
{
	struct loop_source *source = calloc(1, sizeof(*source));

	if (!source)
		return NULL;
	source->loop = loop;
	source->kind = kind;
	source->fd = -EBADF;
	source->data = data;
	list_append(&loop->sources, &source->node);
	return source;
}

static int source_watch(struct loop_source *source, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	if (epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return negative_errno();
	source->fd = fd;
	return 0;
}

int loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn, void *data,
		struct loop_source **ret)
{
	struct loop_source *source = source_new(loop, SOURCE_FD, data);
	int r;

	if (!source)
		return -ENOMEM;
	source->on_fd = fn;
	r = source_watch(source, fd, events);
	if (r < 0) {
		source_destroy(source);
		return r;
	}
	*ret = source;
	return 0;
}

int loop_source_set_events(struct loop_source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	if (source->dead || source->kind != SOURCE_FD)
		return -EINVAL;
	return RET_NERRNO(epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event));
}

int loop_add_timer(struct loop *loop, loop_timer_fn *fn, void *data, struct loop_source **ret)
{
	struct loop_source *source = source_new(loop, SOURCE_TIMER, data);

	if (!source)
		return -ENOMEM;
	source->on_timer = fn;
	*ret = source;
	return 0;
}

void loop_timer_set(struct loop_source *timer, uint64_t after_ms)
{
	/* The clock is cut to milliseconds: one more, so that a timer is never early. */
	timer->due_ms = loop_now_ms() + after_ms + (after_ms > 0);
	timer->armed = true;
}

void loop_timer_cancel(struct loop_source *timer)
{
	timer->armed = false;
}

int loop_add_signal(struct loop *loop, int signo, loop_signal_fn *fn, void *data, struct loop_source **ret)
{
	struct loop_source *source;
	sigset_t set;
	int fd, r;

	if (sigemptyset(&set) < 0 || sigaddset(&set, signo) < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return negative_errno();
	source = source_new(loop, SOURCE_SIGNAL, data);
	if (!source)
		return -ENOMEM;
	source->on_signal = fn;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	r = fd < 0 ? negative_errno() : source_watch(source, fd, EPOLLIN);
	if (r < 0) {
		closep(&fd);
		source_destroy(source);
		return r;
	}
	*ret = source;
	return 0;
}

static int dispatch_signal(struct loop_source *source)
{
	struct signalfd_siginfo info;
	ssize_t n = read(source->fd, &info, sizeof(info));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : negative_errno();
	return n == sizeof(info) ? source->on_signal(&info, source->data) : -EIO;
}

/* How long epoll may wait: until the first timer, at most timeout_ms. */
static int loop_wait_ms(struct loop *loop, int timeout_ms)
{
	uint64_t now = loop_now_ms();
	struct list *node, *tmp;

	list_for_each_safe(node, tmp, &loop->sources) {
		struct loop_source *source = list_entry(node, struct loop_source, node);
		uint64_t left;

		if (!source->armed)
			continue;
		left = source->due_ms > now ? source->due_ms - now : 0;
		if (timeout_ms < 0 || left < (uint64_t)timeout_ms)
			timeout_ms = left > INT32_MAX ? INT32_MAX : (int)left;
	}
	return timeout_ms;
}

/*
 * Runs due timers. A callback may free and add any source, so the search
 * starts over after each; those set in this round (due later than now) wait.
 */
static int loop_run_timers(struct loop *loop)
{
	uint64_t now = loop_now_ms();
	struct list *node, *tmp;
	int n_run = 0;

	for (;;) {
		struct loop_source *first = NULL;
		int r;

		list_for_each_safe(node, tmp, &loop->sources) {
			struct loop_source *source = list_entry(node, struct loop_source, node);

			if (source->armed && source->due_ms <= now &&
			    (!first || source->due_ms < first->due_ms))
				first = source;
		}
		/* A timer that sets itself to 0 must not keep the descriptors waiting. */
		if (!first || n_run >= EVENTS_PER_ROUND)
			return n_run;
		first->armed = false;
		n_run++;
		r = first->on_timer(first->data);
		if (r < 0)
			return r;
	}
}

static int loop_run_events(const struct epoll_event *events, int n_events)
{
	int n_run = 0;

	for (int i = 0; i < n_events; i++) {
		struct loop_source *source = events[i].data.ptr;
		int r;

		if (source->dead)
			continue;
		n_run++;
		if (source->kind == SOURCE_SIGNAL)
			r = dispatch_signal(source);
		else
			r = source->on_fd(source->fd, events[i].events, source->data);
		if (r < 0)
			return r;
	}
	return n_run;
}

int loop_step(struct loop *loop, int timeout_ms)
{
	struct epoll_event events[EVENTS_PER_ROUND];
	int n_events, n_run, r;

	if (loop->dispatching)
		return -EBUSY;
	n_events = epoll_wait(loop->epoll_fd, events, EVENTS_PER_ROUND, loop_wait_ms(loop, timeout_ms));
	if (n_events < 0)
		return errno == EINTR ? 0 : negative_errno();
	loop->dispatching = true;
	r = n_run = loop_run_events(events, n_events);
	if (r >= 0)
		r = loop_run_timers(loop);
	loop->dispatching = false;
	loop_bury(loop);
	return r < 0 ? r : n_run + r;
}

int loop_run(struct loop *loop)
{
	loop->exiting = false;
	while (!loop->exiting) {
		int r = loop_step(loop, -1);

		if (r < 0)
			return r;
	}
	return loop->exit_code;
}

void loop_exit(struct loop *loop, int code)
{
	loop->exiting = true;
	loop->exit_code = code;
}
