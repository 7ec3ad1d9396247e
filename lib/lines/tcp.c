// SPDX-License-Identifier: Apache-2.0
#include "tcp.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/cleanup.h"

DEFINE_CLEANUP(struct addrinfo *, freeaddrinfo)

static int lookup(const char *host, const char *port, int flags, struct addrinfo **ret, const char **ret_why)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags };
	int error = getaddrinfo(host, port, &hints, ret);

	if (ret_why)
		*ret_why = error ? gai_strerror(error) : NULL;
	return error ? -EADDRNOTAVAIL : 0;
}

static int socket_of(const struct addrinfo *a)
{
	return RET_NERRNO(
		socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol));
}

int tcp_listen(const char *host, const char *port, int backlog, int *ret_fd, const char **ret_why)
{
	_cleanup_(freeaddrinfop) struct addrinfo *found = NULL;
	int r;

	r = lookup(host, port, AI_PASSIVE, &found, ret_why);
	if (r < 0)
		return r;
	r = -EADDRNOTAVAIL;
	for (struct addrinfo *a = found; a && r < 0; a = a->ai_next) {
		_cleanup_close_ int fd = socket_of(a);
		const int on = 1;

		if (fd < 0) {
			r = fd;
			continue;
		}
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		r = RET_NERRNO(bind(fd, a->ai_addr, a->ai_addrlen));
		if (r == 0)
			r = RET_NERRNO(listen(fd, backlog));
		if (r == 0)
			*ret_fd = TAKE_FD(fd);
	}
	return r;
}

static int connect_within(int fd, const struct addrinfo *a, unsigned timeout_ms)
{
	struct pollfd poller = { .fd = fd, .events = POLLOUT };
	int error = 0, n;
	socklen_t size = sizeof(error);

	if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return negative_errno();
	n = poll(&poller, 1, (int)timeout_ms);
	if (n < 0)
		return negative_errno();
	if (n == 0)
		return -ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		return negative_errno();
	return -error;
}

int tcp_connect(const char *host, const char *port, unsigned timeout_ms, int *ret_fd, const char **ret_why)
{
	_cleanup_(freeaddrinfop) struct addrinfo *found = NULL;
	int r;

	r = lookup(host, port, 0, &found, ret_why);
	if (r < 0)
		return r;
	r = -EADDRNOTAVAIL;
	for (struct addrinfo *a = found; a && r < 0; a = a->ai_next) {
		_cleanup_close_ int fd = socket_of(a);

		r = fd < 0 ? fd : connect_within(fd, a, timeout_ms);
		if (r == 0)
			r = RET_NERRNO(fcntl(fd, F_SETFL, 0));
		if (r == 0)
			*ret_fd = TAKE_FD(fd);
	}
	return r;
}
