// SPDX-License-Identifier: Apache-2.0
/* A witness on the node's side: states that last a moment are missed by asking, so it listens. */
#include "events.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/num.h"
#include "p2p/rc.h"
#include "lines/words.h"

/* The value of KEY= in the zero-separated text of an event, or NULL. */
static const char *event_value(const char *text, size_t len, const char *key)
{
	size_t key_len = strlen(key);

	for (const char *at = text; at < text + len; at += strlen(at) + 1)
		if (strncmp(at, key, key_len) == 0 && at[key_len] == '=')
			return at + key_len + 1;
	return NULL;
}

static void event_print(const char *text, size_t len, int probe)
{
	const char *state = event_value(text, len, "GAUDI_STATE");
	const char *path = event_value(text, len, "DEVPATH");
	const char *name = path ? strrchr(path, '/') : NULL;
	unsigned number;

	if (name && num_parse_suffix(name + 1, "uverbs", &number) == 0) {
		const char *action = event_value(text, len, "ACTION");

		printf("%.3f %s %s\n", rc_now(), name + 1, action ? action : "?");
		(void)fflush(stdout);
		return;
	}
	/* accelN: the name goes into a path below. */
	if (!state || !name || num_parse_suffix(name + 1, "accel", &number) < 0)
		return;
	printf("%.3f %s %s", rc_now(), name + 1, state);
	if (probe && strcmp(state, "draining") == 0) {
		char node[64];
		int fd;

		(void)snprintf(node, sizeof(node), "/dev/accel/accel%u", number);
		fd = open(node, O_RDWR | O_CLOEXEC | O_NONBLOCK);
		printf(" open=%s", errno_name(fd < 0 ? negative_errno() : 0));
		closep(&fd);
	}
	printf("\n");
	(void)fflush(stdout);
}

int events_run(int probe)
{
	_cleanup_close_ int fd = -EBADF;
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	char text[8192];

	fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return log_error_errno(negative_errno(), "cannot listen for the kernel's events");
	printf("%.3f listening\n", rc_now());
	(void)fflush(stdout);
	for (;;) {
		struct sockaddr_nl from = { 0 };
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(fd, text, sizeof(text) - 1, 0, (struct sockaddr *)&from, &from_len);

		if (n < 0 && errno == ENOBUFS) {
			printf("%.3f events were lost\n", rc_now());
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return log_error_errno(negative_errno(), "no more events");
		/* Only the kernel, which has no port, is believed. */
		if (from.nl_pid != 0)
			continue;
		text[n] = '\0';
		event_print(text, (size_t)n, probe);
	}
}
