// SPDX-License-Identifier: Apache-2.0
/* Sessions against each other and against bytes as peers send them, without sockets. */
#include "../unit.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "grpc/session.h"

#define SMALL_MAX 1024 /* message_max of the server in these tests */

/* What the service was asked and does. */
struct world {
	struct grpc_session *server;
	struct grpc_session *client;
	struct grpc_call *held; /* of /t.T/Hold and /t.T/Watch */
	unsigned n_calls;
	unsigned n_gone;
	unsigned n_messages;
	unsigned n_done;
	size_t last_len;
	uint8_t last_byte;
	struct grpc_error error;
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

	assert_ptr_equal(call, w->held);
	w->held = NULL;
	w->n_gone++;
}

static void hold(struct grpc_call *call, const uint8_t *message, size_t len, void *data)
{
	struct world *w = data;

	(void)message;
	(void)len;
	w->n_calls++;
	w->held = call;
	grpc_call_set_gone(call, gone, w);
}

static void hold_without_handler(struct grpc_call *call, const uint8_t *message, size_t len, void *data)
{
	struct world *w = data;

	(void)message;
	(void)len;
	w->held = call;
}

static void refuse(struct grpc_call *call, const uint8_t *message, size_t len, void *data)
{
	(void)message;
	(void)len;
	(void)data;
	grpc_call_fail(call, GRPC_FAILED_PRECONDITION, "device %s is 100%% busy\n", grpc_call_path(call));
}

static const struct grpc_method methods[] = {
	{ "/t.T/Echo", echo },
	{ "/t.T/Hold", hold },
	{ "/t.T/Forget", hold_without_handler },
	{ "/t.T/Refuse", refuse },
};

static void on_message(struct grpc_request *request, const uint8_t *message, size_t len, void *data)
{
	struct world *w = data;

	(void)request;
	w->n_messages++;
	w->last_len = len;
	w->last_byte = len ? message[len - 1] : 0;
}

static void on_done(struct grpc_request *request, const struct grpc_error *error, void *data)
{
	struct world *w = data;

	(void)request;
	w->n_done++;
	w->error = *error;
}

static const struct grpc_reply_handler handler = { on_message, on_done };

/* Moves bytes both ways, at most step at a time, until both have nothing to say. */
static void pump(struct world *w, size_t step)
{
	struct grpc_session *sides[] = { w->client, w->server };
	bool moved;

	do {
		moved = false;
		for (int i = 0; i < 2; i++) {
			const uint8_t *bytes;
			ssize_t n = grpc_session_send(sides[i], &bytes);

			assert_true(n >= 0);
			moved = moved || n > 0;
			for (size_t at = 0; at < (size_t)n; at += step) {
				size_t len = (size_t)n - at < step ? (size_t)n - at : step;

				assert_int_equal(grpc_session_recv(sides[!i], bytes + at, len), 0);
			}
		}
	} while (moved);
}

static struct grpc_service service = { methods, sizeof(methods) / sizeof(methods[0]), NULL };

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	const struct grpc_session_options server = { .services = &service,
						     .n_services = 1,
						     .message_max = SMALL_MAX };
	const struct grpc_session_options client = { .message_max = SMALL_MAX };

	assert_non_null(w);
	service.data = w;
	assert_int_equal(grpc_session_new_server(&server, &w->server), 0);
	assert_int_equal(grpc_session_new_client(&client, &w->client), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	grpc_session_free(w->client);
	grpc_session_free(w->server);
	free(w);
	return 0;
}

static void start(struct world *w, const char *path, size_t len, struct grpc_request **ret)
{
	static const uint8_t zeros[1 << 20];

	assert_int_equal(grpc_session_request(w->client, path, zeros, len, 0, &handler, w, ret), 0);
}

static void a_unary_call_gets_its_answer_for_any_chunking(void **state)
{
	struct world *w = *state;

	for (size_t step = 1; step < 40; step++) {
		w->n_messages = w->n_done = 0;
		start(w, "/t.T/Echo", step * 20, NULL);
		pump(w, step);
		assert_int_equal(w->n_messages, 1);
		assert_int_equal(w->last_len, step * 20);
		assert_int_equal(w->n_done, 1);
		assert_int_equal(w->error.status, GRPC_OK);
	}
	assert_int_equal(grpc_session_n_open(w->client), 0);
	assert_int_equal(grpc_session_n_open(w->server), 0);
}

static void an_empty_message_is_a_message(void **state)
{
	struct world *w = *state;

	start(w, "/t.T/Echo", 0, NULL);
	pump(w, 7);
	assert_int_equal(w->n_messages, 1);
	assert_int_equal(w->last_len, 0);
	assert_int_equal(w->error.status, GRPC_OK);
}

static void a_failure_arrives_with_its_words(void **state)
{
	struct world *w = *state;

	start(w, "/t.T/Refuse", 1, NULL);
	pump(w, 1000);
	assert_int_equal(w->n_messages, 0);
	assert_int_equal(w->n_done, 1);
	assert_int_equal(w->error.status, GRPC_FAILED_PRECONDITION);
	assert_string_equal(w->error.text, "device /t.T/Refuse is 100% busy?");
}

static void an_unknown_method_is_unimplemented(void **state)
{
	struct world *w = *state;

	start(w, "/t.T/Nothing", 1, NULL);
	pump(w, 1000);
	assert_int_equal(w->error.status, GRPC_UNIMPLEMENTED);
}

static void a_request_over_the_limit_is_refused_and_the_connection_lives(void **state)
{
	struct world *w = *state;

	start(w, "/t.T/Echo", SMALL_MAX + 1, NULL);
	pump(w, 1000);
	assert_int_equal(w->n_done, 1);
	assert_int_equal(w->error.status, GRPC_RESOURCE_EXHAUSTED);
	/* Far over it: most of the request is never sent. */
	start(w, "/t.T/Echo", 1 << 20, NULL);
	pump(w, 1000);
	assert_int_equal(w->n_done, 2);
	assert_int_equal(w->error.status, GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(w->n_calls, 0);
	assert_int_equal(grpc_session_n_open(w->server), 0);
	start(w, "/t.T/Echo", SMALL_MAX, NULL);
	pump(w, 1000);
	assert_int_equal(w->error.status, GRPC_OK);
	assert_int_equal(w->last_len, SMALL_MAX);
}

static void an_answer_over_the_limit_is_refused(void **state)
{
	static const uint8_t big[SMALL_MAX + 1];
	struct world *w = *state;

	start(w, "/t.T/Hold", 1, NULL);
	pump(w, 1000);
	grpc_call_reply(w->held, big, sizeof(big));
	pump(w, 1000);
	assert_int_equal(w->n_messages, 0);
	assert_int_equal(w->n_done, 1);
	assert_int_equal(w->error.status, GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(grpc_session_n_open(w->client), 0);
}

static void an_answer_may_come_later(void **state)
{
	struct world *w = *state;

	start(w, "/t.T/Hold", 1, NULL);
	start(w, "/t.T/Echo", 3, NULL);
	pump(w, 1000);
	assert_int_equal(w->n_done, 1);
	assert_non_null(w->held);
	grpc_call_reply(w->held, (const uint8_t *)"later", 5);
	pump(w, 1000);
	assert_int_equal(w->n_done, 2);
	assert_int_equal(w->last_byte, 'r');
	assert_int_equal(w->n_gone, 0);
}

static void a_cancelled_call_is_gone_on_the_other_side(void **state)
{
	struct world *w = *state;
	struct grpc_request *request;

	start(w, "/t.T/Hold", 1, &request);
	pump(w, 1000);
	grpc_request_cancel(request);
	pump(w, 1000);
	assert_int_equal(w->n_gone, 1);
	assert_null(w->held);
	assert_int_equal(w->n_done, 0);
	assert_int_equal(grpc_session_n_open(w->client), 0);
	assert_int_equal(grpc_session_n_open(w->server), 0);
}

static void a_call_without_gone_handler_may_be_ended_after_its_peer_left(void **state)
{
	struct world *w = *state;
	struct grpc_request *request;

	start(w, "/t.T/Forget", 1, &request);
	pump(w, 1000);
	grpc_request_cancel(request);
	pump(w, 1000);
	assert_int_equal(grpc_call_send_latest(w->held, (const uint8_t *)"x", 1), 0);
	grpc_call_reply(w->held, (const uint8_t *)"x", 1);
	/* And after the whole connection left. */
	start(w, "/t.T/Forget", 1, NULL);
	pump(w, 1000);
	grpc_session_free(w->server);
	w->server = NULL;
	grpc_call_fail(w->held, GRPC_UNAVAILABLE, "too late");
}

static void a_stream_delivers_every_message_to_a_fast_reader(void **state)
{
	struct world *w = *state;

	start(w, "/t.T/Hold", 1, NULL);
	pump(w, 1000);
	for (uint8_t i = 1; i <= 5; i++) {
		assert_int_equal(grpc_call_send_latest(w->held, &i, 1), 0);
		pump(w, 1000);
		assert_int_equal(w->n_messages, i);
		assert_int_equal(w->last_byte, i);
	}
	assert_int_equal(w->n_done, 0);
	grpc_call_finish(w->held, GRPC_OK, NULL);
	pump(w, 1000);
	assert_int_equal(w->n_done, 1);
	assert_int_equal(w->error.status, GRPC_OK);
}

static void a_slow_reader_skips_to_the_latest_message(void **state)
{
	struct world *w = *state;

	start(w, "/t.T/Hold", 1, NULL);
	pump(w, 1000);
	for (uint8_t i = 1; i <= 100; i++)
		assert_int_equal(grpc_call_send_latest(w->held, &i, 1), 0);
	grpc_call_fail(w->held, GRPC_UNAVAILABLE, "closing");
	pump(w, 1000);
	assert_int_equal(w->n_messages, 1);
	assert_int_equal(w->last_byte, 100);
	assert_int_equal(w->error.status, GRPC_UNAVAILABLE);
	assert_string_equal(w->error.text, "closing");
}

static void the_end_of_a_connection_ends_its_calls(void **state)
{
	struct world *w = *state;

	start(w, "/t.T/Hold", 1, NULL);
	pump(w, 1000);
	start(w, "/t.T/Echo", 1, NULL); /* not even sent */
	grpc_session_free(TAKE_PTR(w->client));
	assert_int_equal(w->n_done, 2);
	assert_int_equal(w->error.status, GRPC_UNAVAILABLE);
	grpc_session_free(TAKE_PTR(w->server));
	assert_int_equal(w->n_gone, 1);
}

static void goaway_lets_calls_end_and_takes_no_new_ones(void **state)
{
	struct world *w = *state;

	start(w, "/t.T/Hold", 1, NULL);
	pump(w, 1000);
	grpc_session_shutdown(w->server);
	pump(w, 1000);
	assert_false(grpc_session_is_finished(w->server));
	assert_int_equal(grpc_session_request(w->client, "/t.T/Echo", NULL, 0, 0, &handler, w, NULL),
			 -ENOTCONN);
	grpc_call_reply(w->held, (const uint8_t *)"x", 1);
	pump(w, 1000);
	assert_int_equal(w->n_done, 1);
	assert_int_equal(w->error.status, GRPC_OK);
	assert_true(grpc_session_is_finished(w->server));
	assert_true(grpc_session_is_finished(w->client));
}

static void many_calls_at_once_are_all_answered(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 100; i++) /* more than the server takes at a time: the rest waits here */
		start(w, "/t.T/Echo", 10, NULL);
	pump(w, 100);
	assert_int_equal(w->n_calls, 100);
	assert_int_equal(w->n_done, 100);
	assert_int_equal(w->error.status, GRPC_OK);
}

/* --- failing allocations ---------------------------------------------------- */

struct failing {
	unsigned left; /* allocations that succeed */
	unsigned failed;
};

static bool may_allocate(struct failing *f)
{
	if (f->left == 0) {
		f->failed++;
		return false;
	}
	f->left--;
	return true;
}

static void *failing_malloc(size_t size, void *data)
{
	return may_allocate(data) ? malloc(size) : NULL;
}

static void failing_free(void *p, void *data)
{
	(void)data;
	free(p);
}

static void *failing_calloc(size_t n, size_t size, void *data)
{
	return may_allocate(data) ? calloc(n, size) : NULL;
}

static void *failing_realloc(void *p, size_t size, void *data)
{
	return may_allocate(data) ? realloc(p, size) : NULL;
}

/* As pump(), but failures of the server's session end it, as conn.c does. */
static void pump_failing(struct world *w)
{
	for (int round = 0; round < 20; round++) {
		const uint8_t *bytes;
		ssize_t n;

		n = grpc_session_send(w->client, &bytes);
		assert_true(n >= 0);
		if (n > 0 && grpc_session_recv(w->server, bytes, (size_t)n) < 0)
			return;
		n = grpc_session_send(w->server, &bytes);
		if (n < 0)
			return;
		if (n > 0)
			assert_int_equal(grpc_session_recv(w->client, bytes, (size_t)n), 0);
	}
}

static void every_failed_allocation_of_nghttp2_is_survived(void **state)
{
	unsigned n = 0;
	bool failed = true;

	(void)state;
	for (; failed; n++) {
		struct failing f = { .left = n };
		nghttp2_mem mem = { &f, failing_malloc, failing_free, failing_calloc, failing_realloc };
		struct world w = { 0 };
		const struct grpc_session_options server = { .services = &service,
							     .n_services = 1,
							     .mem = &mem };
		const struct grpc_session_options client = { .message_max = SMALL_MAX };

		service.data = &w;
		if (grpc_session_new_server(&server, &w.server) < 0)
			continue;
		assert_int_equal(grpc_session_new_client(&client, &w.client), 0);
		start(&w, "/t.T/Hold", 1, NULL);
		pump_failing(&w);
		if (w.held && grpc_call_send_latest(w.held, (const uint8_t *)"abc", 3) == 0)
			pump_failing(&w);
		if (w.held)
			grpc_call_fail(TAKE_PTR(w.held), GRPC_UNAVAILABLE, "no");
		pump_failing(&w);
		failed = f.failed > 0;
		grpc_session_free(w.server);
		grpc_session_free(w.client);
		assert_int_equal(w.n_done, 1);
		if (!failed)
			assert_int_equal(w.error.status, GRPC_UNAVAILABLE);
	}
	assert_true(n > 10);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	test(a_unary_call_gets_its_answer_for_any_chunking),
	test(an_empty_message_is_a_message),
	test(a_failure_arrives_with_its_words),
	test(an_unknown_method_is_unimplemented),
	test(a_request_over_the_limit_is_refused_and_the_connection_lives),
	test(an_answer_over_the_limit_is_refused),
	test(an_answer_may_come_later),
	test(a_cancelled_call_is_gone_on_the_other_side),
	test(a_call_without_gone_handler_may_be_ended_after_its_peer_left),
	test(a_stream_delivers_every_message_to_a_fast_reader),
	test(a_slow_reader_skips_to_the_latest_message),
	test(the_end_of_a_connection_ends_its_calls),
	test(goaway_lets_calls_end_and_takes_no_new_ones),
	test(many_calls_at_once_are_all_answered),
	cmocka_unit_test(every_failed_allocation_of_nghttp2_is_survived),
};

UNIT_MAIN(tests)
