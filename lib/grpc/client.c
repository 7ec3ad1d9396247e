// SPDX-License-Identifier: Apache-2.0
#include "grpc/client.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "conn.h"

struct grpc_client_call {
	struct grpc_conn *conn;
	struct loop_source *timer;    /* the deadline; once the result is there: now */
	struct grpc_request *request; /* NULL: it has ended */
	unsigned timeout_ms;
	uint64_t end_ms; /* when it is over */
	bool settled;	 /* result is what done gets */
	struct grpc_result result;
	uint8_t *message; /* the answer, ours */
	size_t len;
	void (*done)(const struct grpc_result *result, void *data);
	void *data;
};

/* Notes how the call ended, once; done is run by the timer, outside of the session. */
static void call_settle(struct grpc_client_call *call, int r)
{
	if (call->settled)
		return;
	call->settled = true;
	call->result.r = r;
	if (r == 0) {
		call->result.message = call->message;
		call->result.len = call->len;
	}
	loop_timer_set(call->timer, 0);
}

static void on_message(struct grpc_request *request, const uint8_t *message, size_t len, void *data)
{
	struct grpc_client_call *call = data;

	(void)request;
	if (call->settled)
		return;
	if (call->message) {
		grpc_error_set(&call->result.error, GRPC_INTERNAL, "the answer holds more than one message");
		call_settle(call, -EPROTO);
		return;
	}
	call->message = malloc(len ? len : 1);
	if (!call->message) {
		grpc_error_set(&call->result.error, GRPC_RESOURCE_EXHAUSTED, "out of memory for the answer");
		call_settle(call, -ENOMEM);
		return;
	}
	if (len > 0)
		memcpy(call->message, message, len);
	call->len = len;
}

static void set_timed_out(struct grpc_client_call *call)
{
	grpc_error_set(&call->result.error, GRPC_DEADLINE_EXCEEDED, "no answer within %u ms",
		       call->timeout_ms);
}

static void on_request_done(struct grpc_request *request, const struct grpc_error *error, void *data)
{
	struct grpc_client_call *call = data;

	call->request = NULL;
	if (call->settled)
		return;
	call->result.error = *error;
	if (error->status == GRPC_CANCELLED && call->timeout_ms && loop_now_ms() + 1 >= call->end_ms) {
		/* The server's clock was the faster one. */
		set_timed_out(call);
		call_settle(call, -ETIMEDOUT);
	} else if (error->status != GRPC_OK) {
		int r = grpc_request_is_too_long(request) ? -EMSGSIZE : grpc_status_to_errno(error->status);

		call_settle(call, r);
	} else if (!call->message) {
		grpc_error_set(&call->result.error, GRPC_INTERNAL, "the answer holds no message");
		call_settle(call, -EPROTO);
	} else {
		call_settle(call, 0);
	}
}

static const struct grpc_reply_handler reply_handler = {
	.message = on_message,
	.done = on_request_done,
};

static void on_conn_closed(struct grpc_conn *conn, int r, void *data)
{
	struct grpc_client_call *call = data;

	(void)r;
	call->conn = NULL;
	grpc_conn_free(conn); /* settles what is open: UNAVAILABLE */
}

static int on_timer(void *data)
{
	struct grpc_client_call *call = data;

	if (!call->settled) {
		set_timed_out(call);
		call->settled = true;
		call->result.r = -ETIMEDOUT;
	}
	call->done(&call->result, call->data);
	return 0;
}

static int client_connect(const char *path)
{
	_cleanup_close_ int fd = -EBADF;
	struct sockaddr_un address;

	fd = grpc_conn_socket(path, &address);
	if (fd < 0)
		return fd;
	/* On Unix sockets this never is "in progress": it succeeds, fails, or the queue is full. */
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return negative_errno();
	return TAKE_FD(fd);
}

int grpc_client_start(struct loop *loop, const struct grpc_client_options *options,
		      void (*done)(const struct grpc_result *result, void *data), void *data,
		      struct grpc_client_call **ret)
{
	const struct grpc_session_options session = { .message_max = options->message_max };
	_cleanup_(grpc_client_call_freep) struct grpc_client_call *call = calloc(1, sizeof(*call));
	int fd, r;

	if (!call)
		return -ENOMEM;
	call->done = done;
	call->data = data;
	call->timeout_ms = options->timeout_ms;
	call->end_ms = loop_now_ms() + options->timeout_ms;
	r = loop_add_timer(loop, on_timer, call, &call->timer);
	if (r < 0)
		return r;
	fd = client_connect(options->socket);
	if (fd < 0)
		return fd;
	r = grpc_conn_new(loop, fd, &session, on_conn_closed, call, &call->conn);
	if (r < 0)
		return r;
	r = grpc_session_request(grpc_conn_session(call->conn), options->method, options->message,
				 options->len, options->timeout_ms, &reply_handler, call, &call->request);
	if (r < 0)
		return r;
	if (options->timeout_ms > 0)
		loop_timer_set(call->timer, options->timeout_ms);
	*ret = TAKE_PTR(call);
	return 0;
}

void grpc_client_call_free(struct grpc_client_call *call)
{
	if (!call)
		return;
	/* The connection is this call's alone, so closing it is how the peer learns. */
	call->settled = true;
	grpc_conn_free(call->conn);
	loop_source_free(call->timer);
	free(call->message);
	free(call);
}

/* --- blocking --------------------------------------------------------------- */

struct blocking {
	bool over;
	int r;
	uint8_t *message;
	size_t len;
	struct grpc_error *error;
};

static void on_blocking_done(const struct grpc_result *result, void *data)
{
	struct blocking *b = data;

	b->over = true;
	b->r = result->r;
	*b->error = result->error;
	if (result->r < 0)
		return;
	b->message = malloc(result->len ? result->len : 1);
	if (!b->message) {
		b->r = -ENOMEM;
		return;
	}
	memcpy(b->message, result->message, result->len);
	b->len = result->len;
}

/* Why a call could not even start, in words that name the socket. */
static void explain_start(struct grpc_error *error, const char *socket, int r)
{
	switch (r) {
	case -ENOENT:
		grpc_error_set(error, GRPC_UNAVAILABLE, "there is no socket %s; is its server running?",
			       socket);
		break;
	case -ECONNREFUSED:
		grpc_error_set(error, GRPC_UNAVAILABLE, "nobody serves the socket %s", socket);
		break;
	case -EACCES:
		grpc_error_set(error, GRPC_PERMISSION_DENIED, "no permission to use the socket %s", socket);
		break;
	case -ENAMETOOLONG:
		grpc_error_set(error, GRPC_INVALID_ARGUMENT,
			       "the path of the socket %.200s... is too long: 107 bytes at most", socket);
		break;
	default:
		grpc_error_set(error, GRPC_UNAVAILABLE, "cannot connect to %s: %s", socket, strerror(-r));
		break;
	}
}

int grpc_client_call(const struct grpc_client_options *options, uint8_t **ret_message, size_t *ret_len,
		     struct grpc_error *ret_error)
{
	_cleanup_(loop_freep) struct loop *loop = NULL;
	_cleanup_(grpc_client_call_freep) struct grpc_client_call *call = NULL;
	struct grpc_error error = { .status = GRPC_OK };
	struct blocking b = { .error = &error };
	int r;

	r = loop_new(&loop);
	if (r == 0)
		r = grpc_client_start(loop, options, on_blocking_done, &b, &call);
	if (r < 0)
		explain_start(&error, options->socket, r);
	while (r >= 0 && !b.over)
		r = loop_step(loop, -1);
	if (r >= 0)
		r = b.r;
	if (r < 0) {
		if (error.status == GRPC_OK)
			grpc_error_set(&error, GRPC_UNAVAILABLE, "%s", strerror(-r));
		if (ret_error)
			*ret_error = error;
		return r;
	}
	*ret_message = b.message;
	*ret_len = b.len;
	return 0;
}
