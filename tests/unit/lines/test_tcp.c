// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "lines/tcp.h"

static void port_of(int fd, char port[8])
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	(void)snprintf(port, 8, "%u", ntohs(address.sin_port));
}

static void a_connection_reaches_who_listens(void **state)
{
	_cleanup_close_ int listening = -EBADF, fd = -EBADF, peer = -EBADF;
	const char *why = "";
	char port[8], text[3] = "";

	(void)state;
	assert_int_equal(tcp_listen("127.0.0.1", "0", 1, &listening, &why), 0);
	assert_null(why);
	assert_int_equal(accept4(listening, NULL, NULL, 0), -1);
	assert_int_equal(errno, EAGAIN);
	port_of(listening, port);
	assert_int_equal(tcp_connect("127.0.0.1", port, 5000, &fd, &why), 0);
	peer = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	assert_true(peer >= 0);
	assert_int_equal(write(peer, "hi", 2), 2);
	assert_int_equal(read(fd, text, 2), 2); /* blocks until it is there */
	assert_string_equal(text, "hi");
}

static void nobody_there_is_an_error(void **state)
{
	_cleanup_close_ int listening = -EBADF;
	int fd = -EBADF;
	const char *why = NULL;
	char port[8];

	(void)state;
	assert_int_equal(tcp_listen("127.0.0.1", "0", 1, &listening, NULL), 0);
	port_of(listening, port);
	assert_int_equal(tcp_listen("127.0.0.1", port, 1, &fd, &why), -EADDRINUSE);
	closep(&listening);
	assert_int_equal(tcp_connect("127.0.0.1", port, 5000, &fd, &why), -ECONNREFUSED);
	assert_null(why);
	/* RFC 6761: no name below .invalid exists. */
	assert_int_equal(tcp_connect("name.invalid", port, 5000, &fd, &why), -EADDRNOTAVAIL);
	assert_non_null(why);
	assert_int_equal(fd, -EBADF);
}

static void who_does_not_answer_costs_only_the_time_allowed(void **state)
{
	_cleanup_close_ int listening = -EBADF;
	int fds[8], r = 0, n = 0;
	char port[8];

	(void)state;
	/* A full queue of connections: further ones get no answer. */
	assert_int_equal(tcp_listen("127.0.0.1", "0", 0, &listening, NULL), 0);
	port_of(listening, port);
	while (r == 0 && n < 8) {
		r = tcp_connect("127.0.0.1", port, 200, &fds[n], NULL);
		n += r == 0;
	}
	assert_int_equal(r, -ETIMEDOUT);
	while (n > 0)
		(void)close(fds[--n]);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_connection_reaches_who_listens),
	cmocka_unit_test(nobody_there_is_an_error),
	cmocka_unit_test(who_does_not_answer_costs_only_the_time_allowed),
};

UNIT_MAIN(tests)
