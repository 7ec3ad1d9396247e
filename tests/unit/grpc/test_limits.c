// SPDX-License-Identifier: Apache-2.0
/* What a peer may do to a server: many streams, long headers, floods, and not reading. */
#include "../unit.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../fakefs.h"
#include "../h2_peer.h"
#include "base/list.h"
#include "base/loop.h"
#include "grpc/client.h"
#include "grpc/server.h"

#define MESSAGE_MAX 1000
#define HELD_MAX 128

struct world {
	struct grpc_session *server;
	nghttp2_session *h2;
	struct h2_answer answer;
	struct grpc_call *held[HELD_MAX];
	unsigned n_held;
	unsigned n_calls;
	unsigned n_gone;
	/* On sockets. */
	struct fakefs *fs;
	struct loop *loop;
	struct grpc_server *listener;
	int fds[64];
	size_t n_fds;
	unsigned n_done;
	int r;
};

static void echo(struct grpc_call *call, const uint8_t *message, size_t len, void *data)
{
	struct world *w = data;

	w->n_calls++;
	grpc_call_reply(call, message, len);
}

static void gone(struct grpc_call *call, void *data)
{
	struct world *w = data;

	for (unsigned i = 0; i < w->n_held; i++)
		if (w->held[i] == call)
			w->held[i] = w->held[--w->n_held];
	w->n_gone++;
}

static void hold(struct grpc_call *call, const uint8_t *message, size_t len, void *data)
{
	struct world *w = data;

	(void)message;
	(void)len;
	w->n_calls++;
	assert_true(w->n_held < HELD_MAX);
	w->held[w->n_held++] = call;
	grpc_call_set_gone(call, gone, w);
}

static const struct grpc_method methods[] = { { "/t.T/Echo", echo }, { "/t.T/Hold", hold } };
static struct grpc_service service = { methods, ARRAY_SIZE(methods), NULL };

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	const struct grpc_session_options options = { .services = &service,
						      .n_services = 1,
						      .message_max = MESSAGE_MAX };

	assert_non_null(w);
	service.data = w;
	assert_int_equal(grpc_session_new_server(&options, &w->server), 0);
	w->h2 = h2_peer_new(&w->answer);
	w->fs = fakefs_new();
	assert_int_equal(loop_new(&w->loop), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	grpc_session_free(w->server);
	nghttp2_session_del(w->h2);
	grpc_server_free(w->listener);
	while (w->n_fds > 0)
		(void)close(w->fds[--w->n_fds]);
	assert_int_equal(w->n_held, 0);
	loop_free(w->loop);
	fakefs_free(w->fs);
	free(w);
	return 0;
}

#define HEADERS(path) ":method=POST", ":scheme=http", ":path=" path, "content-type=application/grpc"

static const uint8_t hi[] = { 0, 0, 0, 0, 2, 'h', 'i' };
static const char *const hold_headers[] = { HEADERS("/t.T/Hold"), NULL };
static const char *const echo_headers[] = { HEADERS("/t.T/Echo"), NULL };

static void request(struct world *w, const char *const *headers, const uint8_t *body, size_t len)
{
	w->answer.body = body;
	w->answer.body_len = len;
	assert_true(h2_peer_request(w->h2, headers, body != NULL) > 0);
	h2_peer_talk(w->h2, w->server);
}

/* --- one connection ------------------------------------------------------- */

static void a_hundred_streams_are_served_at_once(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < 101; i++)
		request(w, hold_headers, hi, sizeof(hi));
	assert_int_equal(w->n_held, 100);
	assert_int_equal(grpc_session_n_served(w->server), 100);
	/* The last one waits at the peer's until there is room. */
	w->answer.body = hi;
	w->answer.body_len = sizeof(hi);
	grpc_call_reply(w->held[--w->n_held], NULL, 0);
	h2_peer_talk(w->h2, w->server);
	assert_int_equal(w->n_calls, 101);
	assert_int_equal(w->n_held, 100);
	while (w->n_held > 0)
		grpc_call_reply(w->held[--w->n_held], NULL, 0);
	h2_peer_talk(w->h2, w->server);
	assert_int_equal(w->answer.n_closed, 101);
	assert_int_equal(w->n_gone, 0);
	assert_int_equal(grpc_session_n_open(w->server), 0);
}

static void a_method_that_is_not_there_is_refused_before_its_message(void **state)
{
	static const char *const headers[] = { HEADERS("/t.T/Nothing"), NULL };
	struct world *w = *state;

	w->answer.stall = true;
	request(w, headers, (const uint8_t *)"", 0);
	assert_string_equal(w->answer.grpc_status, "12");
	assert_true(w->answer.closed);
	assert_int_equal(grpc_session_n_open(w->server), 0);
}

static void long_headers_are_refused(void **state)
{
	static char value[9000] = "x-long=";
	const char *headers[] = { HEADERS("/t.T/Echo"), value, NULL, NULL };
	struct world *w = *state;

	memset(value + 7, 'v', sizeof(value) - 8);
	request(w, headers, hi, sizeof(hi));
	assert_string_equal(w->answer.status, "200");
	headers[5] = value; /* over 16 KiB with the first */
	request(w, headers, hi, sizeof(hi));
	assert_string_equal(w->answer.status, "431");
	assert_string_equal(w->answer.grpc_status, "8");
	assert_int_equal(w->n_calls, 1);
	request(w, echo_headers, hi, sizeof(hi));
	assert_int_equal(w->n_calls, 2);
}

static void unread_answers_are_bounded_together(void **state)
{
	static const uint8_t body[GRPC_FRAME_PREFIX + MESSAGE_MAX] = { 0, 0, 0, MESSAGE_MAX >> 8,
								       MESSAGE_MAX & 0xff };
	const nghttp2_settings_entry closed = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0 };
	struct world *w = *state;

	assert_int_equal(nghttp2_submit_settings(w->h2, NGHTTP2_FLAG_NONE, &closed, 1), 0);
	for (unsigned i = 0; i < 4; i++) {
		request(w, echo_headers, body, sizeof(body));
		if (i < 3)
			assert_false(w->answer.closed);
	}
	assert_string_equal(w->answer.grpc_status, "8");
	assert_int_equal(grpc_session_n_open(w->server), 3);
	/* Who reads them gets them. */
	assert_int_equal(nghttp2_submit_settings(
				 w->h2, NGHTTP2_FLAG_NONE,
				 &(nghttp2_settings_entry){ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 65535 }, 1),
			 0);
	h2_peer_talk(w->h2, w->server);
	assert_int_equal(w->answer.n_data, 3 * sizeof(body));
	assert_int_equal(grpc_session_n_open(w->server), 0);
}

static void a_peers_timeout_ends_its_call(void **state)
{
	static const char *const headers[] = { HEADERS("/t.T/Hold"), "grpc-timeout=60m", NULL };
	struct world *w = *state;
	uint64_t begin = loop_now_ms();

	assert_int_equal(grpc_session_timeout_ms(w->server), -1);
	request(w, headers, hi, sizeof(hi));
	assert_int_equal(w->n_held, 1);
	assert_in_range(grpc_call_time_left_ms(w->held[0]), 0, 60);
	while (!w->answer.closed) {
		assert_in_range(grpc_session_timeout_ms(w->server), 0, 60);
		grpc_session_expire(w->server);
		h2_peer_talk(w->h2, w->server);
		assert_true(loop_now_ms() - begin < 10000);
	}
	assert_true(loop_now_ms() - begin >= 60);
	assert_int_equal(w->answer.code, NGHTTP2_CANCEL);
	assert_int_equal(w->n_gone, 1);
	assert_int_equal(grpc_session_timeout_ms(w->server), -1);
}

static void timeouts_are_understood(void **state)
{
	static const struct {
		const char *header;
		int64_t ms; /* -1: refused */
	} cases[] = {
		{ "grpc-timeout=2H", 7200000 },
		{ "grpc-timeout=3M", 180000 },
		{ "grpc-timeout=29S", 29000 },
		{ "grpc-timeout=29998m", 29998 },
		{ "grpc-timeout=29998001u", 29999 },
		{ "grpc-timeout=99999999n", 100 },
		{ "grpc-timeout=99999999H", 99999999ll * 3600000 },
		{ "grpc-timeout=", -1 },
		{ "grpc-timeout=m", -1 },
		{ "grpc-timeout=5", -1 },
		{ "grpc-timeout=5s", -1 },
		{ "grpc-timeout=-5S", -1 },
		{ "grpc-timeout=100000000m", -1 },
		{ "grpc-timeout=5 S", -1 },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *const headers[] = { HEADERS("/t.T/Hold"), cases[i].header, NULL };

		w->answer.grpc_status[0] = '\0';
		request(w, headers, hi, sizeof(hi));
		if (cases[i].ms < 0) {
			assert_string_equal(w->answer.grpc_status, "13");
			assert_string_equal(w->answer.status, "400");
			continue;
		}
		assert_int_equal(w->n_held, 1);
		assert_true(grpc_call_time_left_ms(w->held[0]) <= cases[i].ms);
		assert_true(grpc_call_time_left_ms(w->held[0]) >
			    cases[i].ms - (cases[i].ms > 100 ? 10000 : 101));
		grpc_call_reply(w->held[--w->n_held], NULL, 0);
		h2_peer_talk(w->h2, w->server);
	}
}

static void pings_are_answered(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(nghttp2_submit_ping(w->h2, NGHTTP2_FLAG_NONE, NULL), 0);
	h2_peer_talk(w->h2, w->server);
	assert_int_equal(w->answer.n_ping_acks, 500);
}

/* The peer has no use for us any more: what is under way ends, then the connection. */
static void goaway_of_a_peer_lets_its_calls_end(void **state)
{
	struct world *w = *state;

	request(w, hold_headers, hi, sizeof(hi));
	assert_int_equal(nghttp2_submit_goaway(w->h2, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0), 0);
	h2_peer_talk(w->h2, w->server);
	assert_false(grpc_session_is_finished(w->server));
	grpc_call_reply(w->held[--w->n_held], (const uint8_t *)"x", 1);
	h2_peer_talk(w->h2, w->server);
	assert_string_equal(w->answer.grpc_status, "0");
	assert_true(grpc_session_is_finished(w->server));
}

static const uint8_t preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";

/* A peer who sends the same n times and reads nothing must lose the connection before, and not cost much memory. */
static void flood(struct world *w, const uint8_t *frame, size_t len, size_t n)
{
	struct mallinfo2 before = mallinfo2();
	const uint8_t *out;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = grpc_session_recv(w->server, frame, len);
	assert_true(mallinfo2().uordblks < before.uordblks + (1u << 20));
	while (r == 0 && grpc_session_send(w->server, &out) > 0)
		;
	assert_true(r == -EPROTO || grpc_session_is_finished(w->server));
}

static void a_flood_of_pings_breaks_the_connection(void **state)
{
	static const uint8_t ping[17] = { 0, 0, 8, NGHTTP2_PING };

	struct world *w = *state;

	assert_int_equal(grpc_session_recv(w->server, preface, sizeof(preface)), 0);
	flood(w, ping, sizeof(ping), 100000);
}

static void a_flood_of_settings_breaks_the_connection(void **state)
{
	static const uint8_t settings[9] = { 0, 0, 0, NGHTTP2_SETTINGS };

	struct world *w = *state;

	assert_int_equal(grpc_session_recv(w->server, preface, sizeof(preface)), 0);
	flood(w, settings, sizeof(settings), 100000);
}

static void endless_headers_break_the_connection(void **state)
{
	static const uint8_t headers[9] = { 0, 0, 0, NGHTTP2_HEADERS, 0, 0, 0, 0, 1 };
	static uint8_t more[9 + 8000] = { 0, 8000 >> 8, 8000 & 0xff, NGHTTP2_CONTINUATION, 0, 0, 0, 0, 1 };
	struct world *w = *state;

	memset(more + 9, 0x84, 8000); /* ":path /", a byte each */
	assert_int_equal(grpc_session_recv(w->server, preface, sizeof(preface)), 0);
	assert_int_equal(grpc_session_recv(w->server, headers, sizeof(headers)), 0);
	flood(w, more, sizeof(more), 1000);
}

/* A call that is taken back at once costs the peer nothing, and us some work. */
static void a_flood_of_resets_ends_the_connection(void **state)
{
	struct world *w = *state;
	struct mallinfo2 before = mallinfo2();

	w->answer.body = hi;
	w->answer.stall = true;
	for (unsigned i = 0; i < 5000 && !w->answer.has_goaway; i++) {
		int32_t id = h2_peer_request(w->h2, hold_headers, true);

		if (id < 0)
			break;
		h2_peer_talk(w->h2, w->server);
		assert_int_equal(nghttp2_submit_rst_stream(w->h2, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL), 0);
		h2_peer_talk(w->h2, w->server);
	}
	assert_true(w->answer.has_goaway);
	assert_int_equal(w->n_held, 0);
	assert_true(mallinfo2().uordblks < before.uordblks + (1u << 20));
}

/* --- sockets -------------------------------------------------------------- */

static void serve(struct world *w)
{
	const struct grpc_server_options options = { .path = fakefs_join(w->fs, "s.sock"),
						     .services = &service,
						     .n_services = 1,
						     .connections_max = 16 };

	assert_int_equal(grpc_server_new(w->loop, &options, &w->listener), 0);
}

static int connect_raw(struct world *w)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%.107s", fakefs_join(w->fs, "s.sock"));
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_true(w->n_fds < ARRAY_SIZE(w->fds));
	w->fds[w->n_fds++] = fd;
	return fd;
}

static void run_for(struct world *w, unsigned ms)
{
	for (uint64_t end = loop_now_ms() + ms; loop_now_ms() < end;)
		assert_true(loop_step(w->loop, 10) >= 0);
}

static void on_done(const struct grpc_result *result, void *data)
{
	struct world *w = data;

	w->n_done++;
	w->r = result->r;
}

/* A call as the kubelet makes it; it must be answered within the limit. */
static void call_and_wait(struct world *w, unsigned limit_ms)
{
	_cleanup_(grpc_client_call_freep) struct grpc_client_call *call = NULL;
	const struct grpc_client_options options = { .socket = fakefs_join(w->fs, "s.sock"),
						     .method = "/t.T/Echo",
						     .timeout_ms = limit_ms };

	w->n_done = 0;
	assert_int_equal(grpc_client_start(w->loop, &options, on_done, w, &call), 0);
	while (w->n_done == 0)
		assert_true(loop_step(w->loop, 100) >= 0);
	assert_int_equal(w->r, 0);
}

static void a_peer_that_does_not_read_is_not_read_from(void **state)
{
	static const uint8_t ping[17] = { 0, 0, 8, NGHTTP2_PING };
	struct world *w = *state;
	size_t n_sent = 0, n_read = 0, n_acks, part = 0;
	uint8_t buf[65536];
	int fd, idle = 0;
	ssize_t n;

	serve(w);
	fd = connect_raw(w);
	assert_int_equal(send(fd, preface, sizeof(preface), 0), sizeof(preface));
	while (idle < 20) {
		n = send(fd, ping + part, sizeof(ping) - part, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0) {
			assert_true(errno == EAGAIN);
			idle++;
			run_for(w, 5);
			continue;
		}
		idle = 0;
		part = (part + (size_t)n) % sizeof(ping);
		n_sent += (size_t)n;
		assert_true(n_sent < 16u << 20); /* else it reads on, and keeps it all */
	}
	call_and_wait(w, 10000); /* others are served meanwhile */
	/* What was taken is answered when he reads again: 9 bytes SETTINGS and more, then the acks. */
	n_acks = n_sent / sizeof(ping);
	for (uint64_t end = loop_now_ms() + 20000; n_read < n_acks * sizeof(ping) && loop_now_ms() < end;) {
		assert_true(loop_step(w->loop, 10) >= 0);
		n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		assert_int_not_equal(n, 0);
		n_read += n > 0 ? (size_t)n : 0;
	}
	assert_true(n_read >= n_acks * sizeof(ping));
	assert_int_equal(grpc_server_n_connections(w->listener), 1);
}

static void a_flood_of_connections_keeps_nobody_out(void **state)
{
	/* The beginning of a request, and then nothing. */
	static const uint8_t half[] = {
		0, 0, 3, 1, 4, 0, 0, 0, 1, 0x83, 0x86, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 1
	};
	struct world *w = *state;

	serve(w);
	for (unsigned i = 0; i < 32; i++) {
		int fd = connect_raw(w);

		if (i % 2) {
			assert_int_equal(send(fd, preface, sizeof(preface), 0), sizeof(preface));
			assert_int_equal(send(fd, half, sizeof(half), 0), sizeof(half));
		}
	}
	run_for(w, 50);
	assert_int_equal(grpc_server_n_connections(w->listener), 16);
	call_and_wait(w, 20000); /* behind 16 more in the server's queue */
	assert_true(grpc_server_n_connections(w->listener) <= 16);
}

static void a_call_that_is_served_is_never_given_up_for_others(void **state)
{
	struct world *w = *state;
	_cleanup_(grpc_client_call_freep) struct grpc_client_call *call = NULL;
	const struct grpc_client_options options = { .socket = fakefs_join(w->fs, "s.sock"),
						     .method = "/t.T/Hold" };

	serve(w);
	assert_int_equal(grpc_client_start(w->loop, &options, on_done, w, &call), 0);
	for (unsigned i = 0; i < 20; i++) {
		(void)connect_raw(w);
		run_for(w, 10);
	}
	run_for(w, 3000);
	assert_int_equal(w->n_held, 1);
	assert_int_equal(w->n_done, 0);
	grpc_call_reply(w->held[--w->n_held], NULL, 0);
	while (w->n_done == 0)
		assert_true(loop_step(w->loop, 100) >= 0);
	assert_int_equal(w->r, 0);
}

static void a_deadline_is_kept_without_further_bytes(void **state)
{
	struct world *w = *state;
	uint64_t begin = loop_now_ms();
	const char *const headers[] = { HEADERS("/t.T/Hold"), "grpc-timeout=80m", NULL };
	const uint8_t *bytes;
	ssize_t n;
	int fd;

	serve(w);
	fd = connect_raw(w);
	assert_true(h2_peer_request(w->h2, headers, true) > 0);
	w->answer.body = hi;
	w->answer.body_len = sizeof(hi);
	while ((n = nghttp2_session_mem_send(w->h2, &bytes)) > 0)
		assert_int_equal(send(fd, bytes, (size_t)n, 0), n);
	while (w->n_gone == 0) {
		assert_true(loop_step(w->loop, 100) >= 0);
		assert_true(loop_now_ms() - begin < 10000);
	}
	assert_true(loop_now_ms() - begin >= 80);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	test(a_hundred_streams_are_served_at_once),
	test(a_method_that_is_not_there_is_refused_before_its_message),
	test(long_headers_are_refused),
	test(unread_answers_are_bounded_together),
	test(a_peers_timeout_ends_its_call),
	test(timeouts_are_understood),
	test(pings_are_answered),
	test(goaway_of_a_peer_lets_its_calls_end),
	test(a_flood_of_pings_breaks_the_connection),
	test(a_flood_of_settings_breaks_the_connection),
	test(endless_headers_break_the_connection),
	test(a_flood_of_resets_ends_the_connection),
	test(a_peer_that_does_not_read_is_not_read_from),
	test(a_flood_of_connections_keeps_nobody_out),
	test(a_call_that_is_served_is_never_given_up_for_others),
	test(a_deadline_is_kept_without_further_bytes),
};

UNIT_MAIN(tests)
