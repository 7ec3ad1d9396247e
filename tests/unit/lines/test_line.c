// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "lines/line.h"
#include "../fakefs.h"

static void pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static int open_descriptors(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	return n;
}

static void lines_come_in_pieces(void **state)
{
	int fds[2], passed = -EBADF;
	char buf[16];
	size_t len = 0;

	(void)state;
	pair(fds);
	assert_int_equal(line_receive(fds[1], buf, sizeof(buf), &len, &passed), 0);
	assert_int_equal(line_send(fds[0], "ab", 2, -EBADF), 0);
	assert_int_equal(line_receive(fds[1], buf, sizeof(buf), &len, &passed), 0);
	assert_int_equal(line_send(fds[0], "c\n", 2, -EBADF), 0);
	assert_int_equal(line_receive(fds[1], buf, sizeof(buf), &len, &passed), 1);
	assert_memory_equal(buf, "abc\n", 4);
	assert_int_equal(passed, -EBADF);
	closep(&fds[0]);
	assert_int_equal(line_receive(fds[1], buf, sizeof(buf), &len, &passed), -ECONNRESET);
	closep(&fds[1]);
}

static void long_lines_are_refused(void **state)
{
	int fds[2], passed = -EBADF;
	char buf[8];
	size_t len = 0;

	(void)state;
	pair(fds);
	assert_int_equal(line_send(fds[0], "0123456789", 10, -EBADF), 0);
	assert_int_equal(line_receive(fds[1], buf, sizeof(buf), &len, &passed), -EMSGSIZE);
	assert_int_equal(line_receive(fds[1], buf, sizeof(buf), &len, &passed), -EMSGSIZE);
	closep(&fds[0]);
	closep(&fds[1]);
}

/* Sends count descriptors at once. */
static void send_many(int fd, int what, unsigned count)
{
	union {
		char bytes[CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec part = { .iov_base = (char[]){ 'x', '\n' }, .iov_len = 2 };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_SPACE(count * sizeof(int)),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(count * sizeof(int));
	for (unsigned i = 0; i < count; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &what, sizeof(int));
	assert_int_equal(sendmsg(fd, &message, 0), 2);
}

static void one_descriptor_is_taken_and_the_rest_closed(void **state)
{
	static const unsigned counts[] = { 1, 2, 8, 12 };
	int fds[2];

	(void)state;
	pair(fds);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		int before = open_descriptors(), passed = -EBADF;
		char buf[16];
		size_t len = 0;

		send_many(fds[0], fds[0], counts[i]);
		assert_int_equal(line_receive(fds[1], buf, sizeof(buf), &len, &passed), 1);
		assert_true(passed >= 0);
		assert_true(fcntl(passed, F_GETFD) & FD_CLOEXEC);
		assert_int_equal(open_descriptors(), before + 1);
		closep(&passed);
	}
	closep(&fds[0]);
	closep(&fds[1]);
}

static void answers_are_one_line(void **state)
{
	int fds[2];
	char buf[32];

	(void)state;
	pair(fds);
	assert_int_equal(line_send(fds[0], "ok\n", 3, -EBADF), 0);
	assert_int_equal(line_read(fds[1], buf, sizeof(buf), 5), 0);
	assert_string_equal(buf, "ok");
	assert_int_equal(line_send(fds[0], "ok\nmore\n", 8, -EBADF), 0);
	assert_int_equal(line_read(fds[1], buf, sizeof(buf), 5), -EPROTO);
	assert_int_equal(line_read(fds[1], buf, sizeof(buf), 0), -ETIMEDOUT);
	closep(&fds[0]);
	assert_int_equal(line_read(fds[1], buf, sizeof(buf), 5), -ECONNRESET);
	closep(&fds[1]);
}

static void socket_replaces_a_stale_one_and_nothing_else(void **state)
{
	struct fakefs *fs = fakefs_new();
	const char *path = fakefs_join(fs, "s");
	int a = -EBADF, b = -EBADF, c = -EBADF;
	char longer[200];

	(void)state;
	assert_int_equal(line_listen(path, &a), 0);
	closep(&a);
	assert_int_equal(line_connect(path, &c), -ECONNREFUSED);
	assert_int_equal(line_listen(path, &b), 0);
	assert_int_equal(line_connect(path, &c), 0);
	closep(&b);
	closep(&c);
	fakefs_put(fs, "file", "precious");
	assert_int_equal(line_listen(fakefs_join(fs, "file"), &b), -EADDRINUSE);
	assert_string_equal(fakefs_get(fs, "file"), "precious");
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(line_listen(longer, &b), -ENAMETOOLONG);
	assert_int_equal(line_connect(longer, &b), -ENAMETOOLONG);
	fakefs_free(fs);
}

static void many_lines_at_once_are_taken_one_by_one(void **state)
{
	char buf[] = "one\n\nthree is long\nfo", line[8];
	size_t len = strlen(buf);

	(void)state;
	assert_int_equal(line_take(buf, &len, line, sizeof(line)), 1);
	assert_string_equal(line, "one");
	assert_int_equal(line_take(buf, &len, line, sizeof(line)), 1);
	assert_string_equal(line, "");
	assert_int_equal(line_take(buf, &len, line, sizeof(line)), -EMSGSIZE);
	assert_int_equal(len, strlen("three is long\nfo"));
	memmove(buf, buf + 14, len -= 14);
	assert_int_equal(line_take(buf, &len, line, sizeof(line)), 0);
	assert_int_equal(len, 2);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(lines_come_in_pieces),
	cmocka_unit_test(long_lines_are_refused),
	cmocka_unit_test(one_descriptor_is_taken_and_the_rest_closed),
	cmocka_unit_test(answers_are_one_line),
	cmocka_unit_test(socket_replaces_a_stale_one_and_nothing_else),
	cmocka_unit_test(many_lines_at_once_are_taken_one_by_one),
};

UNIT_MAIN(tests)
