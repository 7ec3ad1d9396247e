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
	void (*fn)(void *data);
	void *data;
};

bool watch_event_matters(const char *event, size_t len)
{
	static const char *const subsystems[] = { "accel", "infiniband", "infiniband_verbs", "net", "pci" };
	static const char key[] = "SUBSYSTEM=";
	const char *end = event + len;

	for (const char *line = event; line < end;) {
		size_t n = strnlen(line, (size_t)(end - line));

		for (size_t i = 0; i < ARRAY_SIZE(subsystems); i++)
			if (n == sizeof(key) - 1 + strlen(subsystems[i]) &&
			    memcmp(line, key, sizeof(key) - 1) == 0 &&
			    memcmp(line + sizeof(key) - 1, subsystems[i], strlen(subsystems[i])) == 0)
				return true;
		line += n + 1;
	}
	return false;
}

/* One event: 1 when it matters, 0 when not, -errno. */
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
	return watch_event_matters(event, (size_t)n);
}

static int on_event(int fd, uint32_t events, void *data)
{
	struct watch *watch = data;
	bool matters = false;
	int r;

	(void)events;
	while ((r = receive(fd)) >= 0 || r == -EINTR)
		matters = matters || r > 0;
	if (r == -ENOBUFS) { /* some were lost: look at everything */
		log_debug("device events were lost, scanning");
		matters = true;
	}
	if (matters)
		watch->fn(watch->data);
	return 0;
}

int watch_new(struct loop *loop, void (*fn)(void *data), void *data, struct watch **ret)
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
