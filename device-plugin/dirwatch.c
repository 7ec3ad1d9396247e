// SPDX-License-Identifier: Apache-2.0
#include "dirwatch.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

#include "base/log.h"

#define EVENTS                                                                                             \
	(IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | \
	 IN_ONLYDIR)

struct dirwatch {
	struct dirwatch_options options;
	int fd;
	int wd[DIRWATCH_MAX]; /* -1: not there */
	struct loop_source *source;
	bool said_missing;
};

/* Watches the directory that has this name now, also if the one that had it lives on under another. */
static int look_at(struct dirwatch *watch, size_t i)
{
	int r = RET_NERRNO(inotify_add_watch(watch->fd, watch->options.dirs[i], EVENTS)), old = watch->wd[i];

	if (r == old && r >= 0)
		return 0;
	watch->wd[i] = r < 0 ? -1 : r;
	if (old >= 0)
		(void)inotify_rm_watch(watch->fd, old); /* fails when the kernel has done it already */
	if (r >= 0)
		watch->options.appeared(watch->options.dirs[i], watch->options.data);
	return r < 0 ? r : 0;
}

bool dirwatch_has_any(const struct dirwatch *watch)
{
	for (size_t i = 0; i < DIRWATCH_MAX; i++)
		if (watch->wd[i] >= 0)
			return true;
	return false;
}

void dirwatch_look(struct dirwatch *watch)
{
	int r = 0;

	for (size_t i = 0; i < DIRWATCH_MAX && watch->options.dirs[i]; i++) {
		int error = look_at(watch, i);

		r = r < 0 ? r : error;
	}
	if (dirwatch_has_any(watch)) {
		watch->said_missing = false;
		return;
	}
	if (!watch->said_missing)
		(void)log_warning_errno(r, "%s: cannot watch the kubelet's directory, waiting for it",
					watch->options.dirs[0]);
	watch->said_missing = true;
}

static int on_events(int fd, uint32_t events, void *data)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct dirwatch *watch = data;

	(void)events;
	while (read(fd, buf, sizeof(buf)) > 0)
		; /* which of them does not matter */
	dirwatch_look(watch);
	watch->options.changed(watch->options.data);
	return 0;
}

int dirwatch_new(struct loop *loop, const struct dirwatch_options *options, struct dirwatch **ret)
{
	_cleanup_(dirwatch_freep) struct dirwatch *watch = calloc(1, sizeof(*watch));
	int r;

	if (!watch)
		return -ENOMEM;
	watch->options = *options;
	for (size_t i = 0; i < DIRWATCH_MAX; i++)
		watch->wd[i] = -1;
	watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch->fd < 0)
		return negative_errno();
	r = loop_add_fd(loop, watch->fd, EPOLLIN, on_events, watch, &watch->source);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(watch);
	return 0;
}

void dirwatch_free(struct dirwatch *watch)
{
	if (!watch)
		return;
	loop_source_free(watch->source);
	closep(&watch->fd);
	free(watch);
}
