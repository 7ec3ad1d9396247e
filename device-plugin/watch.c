// SPDX-License-Identifier: Apache-2.0
#include "watch.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/log.h"

#define GROUP_KERNEL 1
/* The kernel's own limit of one event. */
#define EVENT_MAX 8192

struct watch {
	int fd;
	struct loop_source *source;
	void (*fn)(enum watch_news news, void *data);
	void *data;
};

static bool line_is(const char *line, size_t n, const char *key, const char *value)
{
	size_t key_len = strlen(key);

	return n == key_len + strlen(value) && memcmp(line, key, key_len) == 0 &&
	       memcmp(line + key_len, value, n - key_len) == 0;
}

enum watch_news watch_event_news(const char *event, size_t len)
{
	static const char *const subsystems[] = { "accel", "pci", "infiniband", "infiniband_verbs", "net" };
	const size_t n_with_state = 2; /* the first ones: the others' changes may be of name or number */
	bool is_change = false;
	size_t which = ARRAY_SIZE(subsystems);
	const char *end = event + len;

	for (const char *line = event; line < end;) {
		size_t n = strnlen(line, (size_t)(end - line));

		is_change = is_change || line_is(line, n, "ACTION=", "change");
		for (size_t i = 0; i < ARRAY_SIZE(subsystems); i++)
			if (line_is(line, n, "SUBSYSTEM=", subsystems[i]))
				which = i;
		line += n + 1;
	}
	if (which == ARRAY_SIZE(subsystems))
		return WATCH_NOTHING;
	return is_change && which < n_with_state ? WATCH_STATES : WATCH_DEVICES;
}

/* One event: its news, or -errno. */
static int receive(int fd)
{
	char event[EVENT_MAX];
	struct sockaddr_nl from = {};
	struct iovec iov = { .iov_base = event, .iov_len = sizeof(event) };
	struct msghdr msg = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1
	};
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);

	if (n < 0)
		return negative_errno();
	/* Programs can send to this group too; only the kernel is believed. */
	if (msg.msg_namelen != sizeof(from) || from.nl_pid != 0)
		return 0;
	return (int)watch_event_news(event, (size_t)n);
}

void watch_look(struct watch *watch)
{
	enum watch_news news = WATCH_NOTHING;
	int r;

	while ((r = receive(watch->fd)) >= 0 || r == -EINTR)
		if (r > (int)news)
			news = (enum watch_news)r;
	if (r == -ENOBUFS) { /* some were lost */
		log_debug("device events were lost, scanning");
		news = WATCH_DEVICES;
	}
	if (news != WATCH_NOTHING)
		watch->fn(news, watch->data);
}

static int on_event(int fd, uint32_t events, void *data)
{
	(void)fd;
	(void)events;
	watch_look(data);
	return 0;
}

int watch_new(struct loop *loop, void (*fn)(enum watch_news news, void *data), void *data, struct watch **ret)
{
	_cleanup_(watch_freep) struct watch *watch = calloc(1, sizeof(*watch));
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = GROUP_KERNEL };
	int r;

	if (!watch)
		return -ENOMEM;
	watch->fn = fn;
	watch->data = data;
	watch->fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	if (watch->fd < 0)
		return negative_errno();
	if (bind(watch->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return negative_errno();
	r = loop_add_fd(loop, watch->fd, EPOLLIN, on_event, watch, &watch->source);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(watch);
	return 0;
}

void watch_free(struct watch *watch)
{
	if (!watch)
		return;
	loop_source_free(watch->source);
	closep(&watch->fd);
	free(watch);
}
