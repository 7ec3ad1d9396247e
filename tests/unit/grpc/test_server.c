// SPDX-License-Identifier: Apache-2.0
/* Server and client on real sockets, in one loop. */
#include "../unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../fakefs.h"
#include "grpc/client.h"
#include "grpc/server.h"

struct world {
	struct fakefs *fs;
	const char *socket;
	struct loop *loop;
	struct grpc_server *server;
	struct grpc_client_call *call;
	struct grpc_call *held;
	unsigned n_gone;
	unsigned n_done;
	unsigned n_drained;
	int r;
	size_t len;
	struct grpc_error error;
};

static void echo(struct grpc_call *call, const uint8_t *message, size_t len, void *data)
{
	(void)data;
	grpc_call_reply(call, message, len);
}

static void gone(struct grpc_call *call, void *data)
{
	struct world *w = data;

	(void)call;
	w->held = NULL;
	w->n_gone++;
}

static void hold(struct grpc_call *call, const uint8_t *message, size_t len, void *data)
{
	struct world *w = data;

	(void)message;
	(void)len;
	w->held = call;
	grpc_call_set_gone(call, gone, w);
}

static void twice(struct grpc_call *call, const uint8_t *message, size_t len, void *data)
{
	hold(call, message, len, data);
	assert_int_equal(grpc_call_send_latest(call, message, len), 0);
}

static void nothing(struct grpc_call *call, const uint8_t *message, size_t len, void *data)
{
	(void)message;
	(void)len;
	(void)data;
	grpc_call_finish(call, GRPC_OK, NULL);
}

static const struct grpc_method methods[] = {
	{ "/t.T/Echo", echo },
	{ "/t.T/Hold", hold },
	{ "/t.T/Twice", twice },
	{ "/t.T/Nothing", nothing },
};

static struct grpc_service service = { methods, ARRAY_SIZE(methods), NULL };

static int serve(struct world *w, unsigned connections_max)
{
	const struct grpc_server_options options = {
		.path = w->socket,
		.services = &service,
		.n_services = 1,
		.connections_max = connections_max,
	};

	return grpc_server_new(w->loop, &options, &w->server);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->fs = fakefs_new();
	w->socket = fakefs_join(w->fs, "s.sock");
	service.data = w;
	assert_int_equal(loop_new(&w->loop), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	grpc_client_call_free(w->call);
	grpc_server_free(w->server);
	loop_free(w->loop);
	fakefs_free(w->fs);
	free(w);
	return 0;
}

static void on_done(const struct grpc_result *result, void *data)
{
	struct world *w = data;

	assert_int_equal(result->message != NULL, result->r == 0);
	w->n_done++;
	w->r = result->r;
	w->len = result->len;
	w->error = result->error;
}

static int start(struct world *w, const char *method, const void *message, size_t len, unsigned timeout_ms)
{
	const struct grpc_client_options options = {
		.socket = w->socket,
		.method = method,
		.message = message,
		.len = len,
		.timeout_ms = timeout_ms,
	};

	return grpc_client_start(w->loop, &options, on_done, w, &w->call);
}

/* Until *what is no longer 0, at most 10 s. */
static void run_until(struct world *w, const unsigned *what)
{
	uint64_t end = loop_now_ms() + 10000;

	while (*what == 0) {
		assert_true(loop_now_ms() < end);
		assert_true(loop_step(w->loop, 100) >= 0);
	}
}

static void run_for(struct world *w, unsigned ms)
{
	uint64_t end = loop_now_ms() + ms;

	for (uint64_t now = loop_now_ms(); now < end; now = loop_now_ms())
		assert_true(loop_step(w->loop, (int)(end - now)) >= 0);
}

static void run_until_held(struct world *w)
{
	for (int i = 0; i < 100 && !w->held; i++)
		assert_true(loop_step(w->loop, 100) >= 0);
	assert_non_null(w->held);
}

static void call_and_wait(struct world *w, const char *method, const void *message, size_t len)
{
	w->n_done = 0;
	assert_int_equal(start(w, method, message, len, 10000), 0);
	run_until(w, &w->n_done);
	grpc_client_call_free(TAKE_PTR(w->call));
}

static void a_call_goes_through_one_loop(void **state)
{
	static const uint8_t big[3 << 20];
	struct world *w = *state;

	assert_int_equal(serve(w, 0), 0);
	call_and_wait(w, "/t.T/Echo", "abc", 3);
	assert_int_equal(w->r, 0);
	assert_int_equal(w->len, 3);
	call_and_wait(w, "/t.T/Echo", big, sizeof(big));
	assert_int_equal(w->r, 0);
	assert_int_equal(w->len, sizeof(big));
	call_and_wait(w, "/t.T/Echo", NULL, 0);
	assert_int_equal(w->r, 0);
	assert_int_equal(w->len, 0);
	run_for(w, 50);
	assert_int_equal(grpc_server_n_connections(w->server), 0);
}

static void an_answer_without_a_message_is_an_error(void **state)
{
	struct world *w = *state;

	assert_int_equal(serve(w, 0), 0);
	call_and_wait(w, "/t.T/Nothing", "", 0);
	assert_int_equal(w->r, -EPROTO);
	assert_string_equal(w->error.text, "the answer holds no message");
}

static void a_second_message_is_an_error(void **state)
{
	struct world *w = *state;

	assert_int_equal(serve(w, 0), 0);
	assert_int_equal(start(w, "/t.T/Twice", "a", 1, 10000), 0);
	run_until_held(w);
	run_for(w, 20);
	assert_int_equal(grpc_call_send_latest(w->held, (const uint8_t *)"b", 1), 0);
	run_until(w, &w->n_done);
	assert_int_equal(w->r, -EPROTO);
}

static void a_deadline_ends_a_call_and_the_server_learns_of_it(void **state)
{
	struct world *w = *state;

	assert_int_equal(serve(w, 0), 0);
	assert_int_equal(start(w, "/t.T/Hold", "a", 1, 60), 0);
	run_until(w, &w->n_done);
	assert_int_equal(w->r, -ETIMEDOUT);
	assert_int_equal(w->error.status, GRPC_DEADLINE_EXCEEDED);
	grpc_client_call_free(TAKE_PTR(w->call));
	run_until(w, &w->n_gone);
}

static void there_is_no_socket_yet(void **state)
{
	struct world *w = *state;
	const struct grpc_client_options options = { .socket = w->socket, .method = "/t.T/Echo" };
	struct grpc_error error;
	uint8_t *message = NULL;
	size_t len;

	assert_int_equal(start(w, "/t.T/Echo", "a", 1, 0), -ENOENT);
	assert_null(w->call);
	assert_int_equal(grpc_client_call(&options, &message, &len, &error), -ENOENT);
	assert_int_equal(error.status, GRPC_UNAVAILABLE);
	assert_non_null(strstr(error.text, w->socket));
	assert_null(message);
}

static void nobody_serves_the_socket(void **state)
{
	struct world *w = *state;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", w->socket);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	assert_int_equal(start(w, "/t.T/Echo", "a", 1, 0), -ECONNREFUSED);
	/* What a dead process left is replaced by a server. */
	assert_int_equal(serve(w, 0), 0);
	call_and_wait(w, "/t.T/Echo", "abc", 3);
	assert_int_equal(w->r, 0);
}

static void a_path_that_no_socket_can_have_is_refused(void **state)
{
	struct world *w = *state;
	char path[200];

	(void)snprintf(path, sizeof(path), "%s/%0150d", fakefs_path(w->fs), 0);
	path[108] = '\0';
	w->socket = path;
	assert_int_equal(serve(w, 0), -ENAMETOOLONG);
	assert_int_equal(start(w, "/t.T/Echo", "a", 1, 0), -ENAMETOOLONG);
	path[107] = '\0';
	assert_int_equal(serve(w, 0), 0);
	call_and_wait(w, "/t.T/Echo", "abc", 3);
	assert_int_equal(w->r, 0);
	w->socket = "";
	assert_int_equal(start(w, "/t.T/Echo", "a", 1, 0), -EINVAL);
}

static void a_place_that_is_taken_is_left_alone(void **state)
{
	struct world *w = *state;
	struct grpc_server *first;

	fakefs_put(w->fs, "s.sock", "precious");
	assert_int_equal(serve(w, 0), -EEXIST);
	assert_string_equal(fakefs_get(w->fs, "s.sock"), "precious");
	fakefs_remove(w->fs, "s.sock");
	assert_int_equal(serve(w, 0), 0);
	first = TAKE_PTR(w->server);
	assert_int_equal(serve(w, 0), -EADDRINUSE);
	grpc_server_free(first);
	assert_int_equal(faccessat(fakefs_root(w->fs), "s.sock", F_OK, 0), -1);
}

static void the_socket_of_a_successor_stays(void **state)
{
	struct world *w = *state;
	struct grpc_server *first;

	assert_int_equal(serve(w, 0), 0);
	first = TAKE_PTR(w->server);
	fakefs_remove(w->fs, "s.sock"); /* as the kubelet does when it starts */
	assert_int_equal(serve(w, 0), 0);
	grpc_server_free(first);
	call_and_wait(w, "/t.T/Echo", "abc", 3);
	assert_int_equal(w->r, 0);
}

static void the_socket_is_for_its_owner_only(void **state)
{
	struct world *w = *state;
	struct stat st;

	assert_int_equal(serve(w, 0), 0);
	assert_int_equal(stat(w->socket, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

/* The kubelet's plugin watcher calls as soon as it sees a socket. */
static void a_socket_that_is_seen_takes_connections(void **state)
{
	struct world *w = *state;
	_cleanup_close_ int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char buf[1024] __attribute__((aligned(__alignof__(struct inotify_event))));
	unsigned n_seen = 0;
	ssize_t n;

	fakefs_put(w->fs, ".other", "somebody's");
	assert_true(inotify_add_watch(fd, fakefs_path(w->fs), IN_CREATE | IN_MOVED_TO) >= 0);
	assert_int_equal(serve(w, 0), 0);
	n = read(fd, buf, sizeof(buf));
	for (char *p = buf; p < buf + n;) {
		const struct inotify_event *event = (const struct inotify_event *)p;

		if (event->name[0] != '.') {
			assert_string_equal(event->name, "s.sock");
			assert_true(event->mask & IN_MOVED_TO);
			n_seen++;
		}
		p += sizeof(*event) + event->len;
	}
	assert_int_equal(n_seen, 1);
	call_and_wait(w, "/t.T/Echo", "abc", 3);
	assert_int_equal(w->r, 0);
	assert_string_equal(fakefs_get(w->fs, ".other"), "somebody's");
}

static void a_connection_over_the_limit_waits(void **state)
{
	struct world *w = *state;
	struct grpc_client_call *first;

	assert_int_equal(serve(w, 1), 0);
	assert_int_equal(start(w, "/t.T/Hold", "a", 1, 10000), 0);
	run_until_held(w);
	first = TAKE_PTR(w->call);
	assert_int_equal(start(w, "/t.T/Echo", "a", 1, 10000), 0);
	run_for(w, 50);
	assert_int_equal(grpc_server_n_connections(w->server), 1);
	assert_int_equal(w->n_done, 0);
	grpc_client_call_free(first);
	run_until(w, &w->n_done);
	assert_int_equal(w->r, 0);
}

static void a_lack_of_descriptors_passes(void **state)
{
	struct world *w = *state;
	struct rlimit limit, tight;
	int spare;

	if (getenv("UNIT_WRAP"))
		return; /* valgrind takes a connection over the limit, and drops it */
	assert_int_equal(serve(w, 0), 0);
	assert_int_equal(start(w, "/t.T/Echo", "a", 1, 10000), 0);
	spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	tight = limit;
	close(spare);
	tight.rlim_cur = (rlim_t)spare;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	run_for(w, 50);
	assert_int_equal(grpc_server_n_connections(w->server), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	run_until(w, &w->n_done);
	assert_int_equal(w->r, 0);
}

static void on_drained(void *data)
{
	struct world *w = data;

	w->n_drained++;
	grpc_server_free(TAKE_PTR(w->server));
}

static void shutdown_lets_calls_end(void **state)
{
	struct world *w = *state;

	assert_int_equal(serve(w, 0), 0);
	assert_int_equal(start(w, "/t.T/Hold", "a", 1, 10000), 0);
	run_until_held(w);
	grpc_server_shutdown(w->server, 10000, on_drained, w);
	assert_int_equal(faccessat(fakefs_root(w->fs), "s.sock", F_OK, 0), -1);
	run_for(w, 50);
	assert_int_equal(w->n_drained, 0);
	grpc_call_reply(TAKE_PTR(w->held), (const uint8_t *)"x", 1);
	run_until(w, &w->n_drained);
	run_until(w, &w->n_done);
	assert_int_equal(w->r, 0);
	assert_int_equal(w->n_gone, 0);
}

static void shutdown_does_not_wait_for_ever(void **state)
{
	struct world *w = *state;

	assert_int_equal(serve(w, 0), 0);
	assert_int_equal(start(w, "/t.T/Hold", "a", 1, 10000), 0);
	run_until_held(w);
	grpc_server_shutdown(w->server, 50, on_drained, w);
	run_until(w, &w->n_drained);
	assert_int_equal(w->n_gone, 1);
	run_until(w, &w->n_done);
	assert_int_equal(w->r, -ECONNRESET);
}

static void shutdown_without_connections_is_immediate(void **state)
{
	struct world *w = *state;

	assert_int_equal(serve(w, 0), 0);
	grpc_server_shutdown(w->server, 10000, on_drained, w);
	run_until(w, &w->n_drained);
}

static void a_peer_that_speaks_something_else_is_dropped(void **state)
{
	struct world *w = *state;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	static const char hello[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
	char answer[256];

	assert_int_equal(serve(w, 0), 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", w->socket);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(write(fd, hello, sizeof(hello) - 1), sizeof(hello) - 1);
	run_for(w, 50);
	assert_int_equal(grpc_server_n_connections(w->server), 0);
	while (read(fd, answer, sizeof(answer)) > 0)
		;
}

static void the_server_speaks_first(void **state)
{
	struct world *w = *state;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint8_t frame[9];

	assert_int_equal(serve(w, 0), 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", w->socket);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	run_for(w, 20);
	assert_int_equal(recv(fd, frame, sizeof(frame), MSG_DONTWAIT), sizeof(frame));
	assert_int_equal(frame[3], 4); /* SETTINGS */
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	test(a_call_goes_through_one_loop),
	test(an_answer_without_a_message_is_an_error),
	test(a_second_message_is_an_error),
	test(a_deadline_ends_a_call_and_the_server_learns_of_it),
	test(there_is_no_socket_yet),
	test(nobody_serves_the_socket),
	test(a_path_that_no_socket_can_have_is_refused),
	test(a_place_that_is_taken_is_left_alone),
	test(the_socket_of_a_successor_stays),
	test(the_socket_is_for_its_owner_only),
	test(a_socket_that_is_seen_takes_connections),
	test(a_connection_over_the_limit_waits),
	test(a_lack_of_descriptors_passes),
	test(shutdown_lets_calls_end),
	test(shutdown_does_not_wait_for_ever),
	test(shutdown_without_connections_is_immediate),
	test(a_peer_that_speaks_something_else_is_dropped),
	test(the_server_speaks_first),
};

UNIT_MAIN(tests)
