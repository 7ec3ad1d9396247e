// SPDX-License-Identifier: Apache-2.0
#include "session_impl.h"

#include <string.h>

#include "base/loop.h"

/* --- streams ---------------------------------------------------------------- */

void grpc_stream_init(struct grpc_stream *stream, struct grpc_session *session)
{
	stream->session = session;
	grpc_frame_reader_init(&stream->reader, session->message_max);
	list_append(&session->streams, &stream->node);
	session->n_streams++;
}

static void clear_out(struct grpc_stream *stream, struct grpc_outgoing *out)
{
	stream->session->queued -= out->len;
	free(out->data);
	*out = (struct grpc_outgoing){ 0 };
}

void grpc_stream_done(struct grpc_stream *stream)
{
	if (!stream->session)
		return;
	grpc_stream_drop_message(stream);
	clear_out(stream, &stream->out);
	clear_out(stream, &stream->out_next);
	list_unlink(&stream->node);
	stream->session->n_streams--;
	stream->session = NULL;
}

int grpc_stream_push(struct grpc_stream *stream, const uint8_t *data, size_t len, size_t *ret_used)
{
	struct grpc_session *session = stream->session;
	size_t before = stream->reader.allocated;
	int r;

	r = grpc_frame_reader_push(&stream->reader, data, len, ret_used);
	session->held += stream->reader.allocated;
	session->held -= before;
	if (r >= 0 && session->held > SESSION_HELD_LIMITS * session->message_max)
		return -ENOBUFS;
	return r;
}

void grpc_stream_drop_message(struct grpc_stream *stream)
{
	stream->session->held -= stream->reader.allocated;
	grpc_frame_reader_done(&stream->reader);
}

void grpc_push_error(struct grpc_error *error, const struct grpc_session *session, int r)
{
	switch (r) {
	case -EMSGSIZE:
		grpc_error_set(error, GRPC_RESOURCE_EXHAUSTED,
			       "message is longer than the limit of %zu bytes", session->message_max);
		break;
	case -ENOBUFS:
		grpc_error_set(error, GRPC_RESOURCE_EXHAUSTED,
			       "too many messages at a time on one connection");
		break;
	case -ENOMEM:
		grpc_error_set(error, GRPC_RESOURCE_EXHAUSTED, "out of memory");
		break;
	case -EOPNOTSUPP:
		grpc_error_set(error, GRPC_UNIMPLEMENTED, "compressed messages are not supported");
		break;
	default:
		grpc_error_set(error, GRPC_INTERNAL, "message does not begin as gRPC frames do");
		break;
	}
}

int grpc_stream_put_out(struct grpc_stream *stream, const uint8_t *message, size_t len)
{
	struct grpc_outgoing *out = stream->out.sent > 0 ? &stream->out_next : &stream->out;
	struct grpc_session *session = stream->session;
	uint8_t *data;

	if (len > UINT32_MAX)
		return -EMSGSIZE;
	/* One message is always possible; its length is the service's own doing. */
	if (session->queued > out->len &&
	    session->queued - out->len + len > SESSION_HELD_LIMITS * session->message_max)
		return -ENOBUFS;
	data = malloc(GRPC_FRAME_PREFIX + len);
	if (!data)
		return -ENOMEM;
	grpc_frame_prefix(data, len);
	if (len > 0)
		memcpy(data + GRPC_FRAME_PREFIX, message, len);
	clear_out(stream, out);
	*out = (struct grpc_outgoing){ .data = data, .len = GRPC_FRAME_PREFIX + len };
	session->queued += out->len;
	return 0;
}

size_t grpc_stream_read_out(struct grpc_stream *stream, uint8_t *buf, size_t size)
{
	struct grpc_outgoing *out = &stream->out;
	size_t n;

	if (!out->data) {
		*out = stream->out_next;
		stream->out_next = (struct grpc_outgoing){ 0 };
	}
	if (!out->data)
		return 0;
	n = out->len - out->sent < size ? out->len - out->sent : size;
	memcpy(buf, out->data + out->sent, n);
	out->sent += n;
	if (out->sent == out->len)
		clear_out(stream, out);
	return n;
}

bool grpc_stream_count_header(struct grpc_stream *stream, size_t name_len, size_t len)
{
	stream->header_bytes += name_len + len + 32; /* RFC 9113, 6.5.2 */
	return stream->header_bytes <= SESSION_HEADER_LIST_MAX;
}

void grpc_stream_reset(struct grpc_stream *stream, uint32_t code)
{
	struct grpc_session *session = stream->session;
	int e = nghttp2_submit_rst_stream(session->h2, NGHTTP2_FLAG_NONE, stream->id, code);

	if (e)
		(void)grpc_session_break(session, e);
	grpc_session_wake(session);
}

nghttp2_nv grpc_header(const char *name, const char *value, size_t len)
{
	return (nghttp2_nv){
		.name = (uint8_t *)name,
		.namelen = strlen(name),
		.value = (uint8_t *)value,
		.valuelen = len,
		.flags = NGHTTP2_NV_FLAG_NONE, /* nghttp2 copies both */
	};
}

/* --- callbacks of nghttp2 --------------------------------------------------- */

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *data)
{
	struct grpc_session *session = data;
	int r;

	(void)h2;
	if (!session->is_server || frame->hd.type != NGHTTP2_HEADERS ||
	    frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	r = grpc_call_begin(session, frame->hd.stream_id);
	/* This stream is reset, the others go on. */
	return r < 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t len, uint8_t flags, void *data)
{
	struct grpc_session *session = data;
	struct grpc_stream *stream = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);

	(void)flags;
	if (!stream || frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	if (!session->is_server)
		grpc_request_header(stream, name, name_len, value, len);
	else if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		grpc_call_header(stream, name, name_len, value, len);
	return 0;
}

static int on_data_chunk(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *bytes, size_t len,
			 void *data)
{
	struct grpc_session *session = data;
	struct grpc_stream *stream = nghttp2_session_get_stream_user_data(h2, id);

	(void)flags;
	if (!stream)
		return 0;
	if (session->is_server)
		grpc_call_data(stream, bytes, len);
	else
		grpc_request_data(stream, bytes, len);
	return 0;
}

static int on_frame_recv(nghttp2_session *h2, const nghttp2_frame *frame, void *data)
{
	struct grpc_session *session = data;
	struct grpc_stream *stream = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);

	if (!session->is_server || !stream)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		grpc_call_headers_end(stream);
	if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
	    frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		grpc_call_request_end(stream);
	return 0;
}

/*
 * A call that we ended before its request was over would stay half open for
 * as long as the peer likes; RFC 9113, 8.1 has NO_ERROR for that.
 */
static int on_frame_send(nghttp2_session *h2, const nghttp2_frame *frame, void *data)
{
	struct grpc_session *session = data;

	if (session->is_server && frame->hd.type == NGHTTP2_HEADERS &&
	    frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
	    nghttp2_session_get_stream_remote_close(h2, frame->hd.stream_id) == 0 &&
	    nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t id, uint32_t code, void *data)
{
	struct grpc_session *session = data;
	struct grpc_stream *stream = nghttp2_session_get_stream_user_data(h2, id);

	if (!stream)
		return 0;
	if (session->is_server)
		grpc_call_closed(stream);
	else
		grpc_request_closed(stream, code);
	return 0;
}

/* --- the connection --------------------------------------------------------- */

static int make_h2(struct grpc_session *session, nghttp2_mem *mem)
{
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *option = NULL;
	int e;

	e = nghttp2_session_callbacks_new(&callbacks);
	if (e)
		return e;
	e = nghttp2_option_new(&option);
	if (e) {
		nghttp2_session_callbacks_del(callbacks);
		return e;
	}
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	/* It would keep a hundred of them, for priorities that nobody asks for. */
	nghttp2_option_set_no_closed_streams(option, 1);
	if (session->is_server) {
		/*
		 * The kubelet's plugin watcher sends the socket's path as
		 * :authority, which HTTP forbids and nghttp2 would refuse.
		 * call.c checks what matters.
		 */
		nghttp2_option_set_no_http_messaging(option, 1);
		e = nghttp2_session_server_new3(&session->h2, callbacks, session, option, mem);
	} else {
		e = nghttp2_session_client_new3(&session->h2, callbacks, session, option, mem);
	}
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	return e;
}

static int session_new(const struct grpc_session_options *options, bool is_server, struct grpc_session **ret)
{
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, is_server ? SESSION_STREAMS_MAX : 0 },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, SESSION_HEADER_LIST_MAX },
		{ NGHTTP2_SETTINGS_ENABLE_PUSH,
		  0 }, /* only a client may say so: last, and not counted for a server */
	};
	struct grpc_session *session = calloc(1, sizeof(*session));
	int e;

	if (!session)
		return -ENOMEM;
	session->is_server = is_server;
	session->services = options->services;
	session->n_services = options->n_services;
	session->message_max = options->message_max ? options->message_max : GRPC_MESSAGE_MAX;
	session->wake = options->wake;
	session->data = options->data;
	list_init(&session->streams);
	e = make_h2(session, options->mem);
	if (!e)
		e = nghttp2_submit_settings(session->h2, NGHTTP2_FLAG_NONE, settings,
					    ARRAY_SIZE(settings) - (is_server ? 1 : 0));
	if (e) {
		nghttp2_session_del(session->h2);
		free(session);
		return -ENOMEM;
	}
	*ret = session;
	return 0;
}

int grpc_session_new_server(const struct grpc_session_options *options, struct grpc_session **ret)
{
	return session_new(options, true, ret);
}

int grpc_session_new_client(const struct grpc_session_options *options, struct grpc_session **ret)
{
	return session_new(options, false, ret);
}

void grpc_session_free(struct grpc_session *session)
{
	if (!session)
		return;
	if (!session->error)
		session->error = -ECONNRESET; /* handlers that run now start nothing new */
	session->entered++;
	while (!list_is_empty(&session->streams)) {
		struct grpc_stream *stream = list_first(&session->streams, struct grpc_stream, node);

		/* No callback of nghttp2 may find it any more. */
		(void)nghttp2_session_set_stream_user_data(session->h2, stream->id, NULL);
		if (session->is_server)
			grpc_call_closed(stream);
		else
			grpc_request_closed(stream, NGHTTP2_CONNECT_ERROR);
	}
	nghttp2_session_del(session->h2);
	free(session);
}

int grpc_session_break(struct grpc_session *session, int nghttp2_error)
{
	if (!session->error)
		session->error = nghttp2_error == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
	return session->error;
}

void grpc_session_wake(struct grpc_session *session)
{
	if (session->wake && session->entered == 0)
		session->wake(session->data);
}

int grpc_session_recv(struct grpc_session *session, const uint8_t *data, size_t len)
{
	ssize_t n;

	if (session->error)
		return session->error;
	session->entered++;
	n = nghttp2_session_mem_recv(session->h2, data, len);
	session->entered--;
	if (n < 0)
		return grpc_session_break(session, (int)n);
	return session->error;
}

ssize_t grpc_session_send(struct grpc_session *session, const uint8_t **ret)
{
	ssize_t n;

	session->entered++;
	n = nghttp2_session_mem_send(session->h2, ret);
	session->entered--;
	if (n < 0)
		return grpc_session_break(session, (int)n);
	return n;
}

void grpc_session_shutdown(struct grpc_session *session)
{
	int e = nghttp2_submit_goaway(session->h2, NGHTTP2_FLAG_NONE,
				      nghttp2_session_get_last_proc_stream_id(session->h2), NGHTTP2_NO_ERROR,
				      NULL, 0);

	if (e)
		(void)grpc_session_break(session, e);
	grpc_session_wake(session);
}

bool grpc_session_is_finished(struct grpc_session *session)
{
	return session->error ||
	       (!nghttp2_session_want_read(session->h2) && !nghttp2_session_want_write(session->h2));
}

void grpc_session_expire(struct grpc_session *session)
{
	struct list *node, *tmp;

	if (!session->is_server)
		return;
	list_for_each_safe(node, tmp, &session->streams)
		grpc_call_expire(list_entry(node, struct grpc_stream, node));
}

int64_t grpc_session_timeout_ms(const struct grpc_session *session)
{
	uint64_t first = UINT64_MAX, now = loop_now_ms();
	const struct list *node;

	for (node = session->streams.next; session->is_server && node != &session->streams;
	     node = node->next) {
		uint64_t deadline = grpc_call_deadline_ms(list_entry(node, struct grpc_stream, node));

		if (deadline < first)
			first = deadline;
	}
	if (first == UINT64_MAX)
		return -1;
	return first > now ? (int64_t)(first - now) : 0;
}

size_t grpc_session_n_served(const struct grpc_session *session)
{
	const struct list *node;
	size_t n = 0;

	for (node = session->streams.next; session->is_server && node != &session->streams; node = node->next)
		n += grpc_call_is_served(list_entry(node, struct grpc_stream, node));
	return n;
}

size_t grpc_session_n_open(const struct grpc_session *session)
{
	return session->n_streams;
}
