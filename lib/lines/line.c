// SPDX-License-Identifier: Apache-2.0
#include "lines/line.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#define FDS_MAX 8

static int unix_address(const char *path, struct sockaddr_un *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(ret->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret->sun_path, path, strlen(path) + 1);
	return 0;
}

int line_listen(const char *path, int *ret_fd)
{
	_cleanup_close_ int fd = -EBADF;
	struct sockaddr_un address;
	struct stat st;
	int r;

	r = unix_address(path, &address);
	if (r < 0)
		return r;
	/* A socket that a former run left; nothing else is removed. */
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		(void)unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return negative_errno();
	/* The mode of the file is that of the socket: for this user alone from its first moment. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 4) < 0)
		return negative_errno();
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int line_connect(const char *path, int *ret_fd)
{
	_cleanup_close_ int fd = -EBADF;
	struct sockaddr_un address;
	int r;

	r = unix_address(path, &address);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return negative_errno();
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return negative_errno();
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Keeps the first descriptor if there is room for it, closes all others. */
static void take_descriptors(struct msghdr *message, int *fd)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int got;

			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
			if (*fd < 0)
				*fd = got;
			else
				(void)close(got);
		}
	}
}

int line_receive(int socket_fd, char *buf, size_t size, size_t *len, int *fd)
{
	union {
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec part = { .iov_base = buf + *len, .iov_len = size - *len };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n;

	if (*len == size)
		return -EMSGSIZE;
	n = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : negative_errno();
	take_descriptors(&message, fd);
	if (n == 0)
		return -ECONNRESET;
	*len += (size_t)n;
	if (memchr(buf, '\n', *len))
		return 1;
	return *len == size ? -EMSGSIZE : 0;
}

int line_take(char *buf, size_t *len, char *ret, size_t size)
{
	const char *end = memchr(buf, '\n', *len);
	size_t n = end ? (size_t)(end - buf) : 0;

	if (!end)
		return 0;
	if (n >= size)
		return -EMSGSIZE;
	memcpy(ret, buf, n);
	ret[n] = '\0';
	*len -= n + 1;
	memmove(buf, end + 1, *len);
	return 1;
}

int line_send(int socket_fd, const char *text, size_t len, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	size_t sent = 0;

	while (sent < len) {
		struct iovec part = { .iov_base = (char *)(uintptr_t)text + sent, .iov_len = len - sent };
		struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
		ssize_t n;

		if (fd >= 0 && sent == 0) {
			struct cmsghdr *c;

			message.msg_control = control.bytes;
			message.msg_controllen = sizeof(control.bytes);
			c = CMSG_FIRSTHDR(&message);
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(sizeof(int));
			memcpy(CMSG_DATA(c), &fd, sizeof(int));
		}
		n = sendmsg(socket_fd, &message, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return negative_errno();
		sent += (size_t)n;
	}
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int line_read(int socket_fd, char *buf, size_t size, unsigned seconds)
{
	int64_t deadline = now_ms() + (int64_t)seconds * 1000;
	size_t len = 0;
	int r = 0;

	while (r == 0) {
		_cleanup_close_ int unwanted = -EBADF;
		struct pollfd poller = { .fd = socket_fd, .events = POLLIN };
		int64_t left = deadline - now_ms();

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&poller, 1, (int)left) < 0 && errno != EINTR)
			return negative_errno();
		if (poller.revents)
			r = line_receive(socket_fd, buf, size, &len, &unwanted);
	}
	if (r < 0)
		return r;
	/* Each side answers one line with one, so nothing may follow. */
	if (buf[len - 1] != '\n' || memchr(buf, '\n', len - 1))
		return -EPROTO;
	buf[len - 1] = '\0';
	return 0;
}
