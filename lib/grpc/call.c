// SPDX-License-Identifier: Apache-2.0
/* Calls that a peer makes to us. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "session_impl.h"

#define PATH_MAX_BYTES 256
#define CONTENT_TYPE "application/grpc"

enum call_state {
	CALL_HEADERS, /* headers are coming in */
	CALL_MESSAGE, /* the request message is coming in */
	CALL_SERVICE, /* the service has it */
	CALL_ENDED,   /* by the service or by us; freed when the stream closes */
};

struct grpc_call {
	struct grpc_stream stream;
	enum call_state state;
	char path[PATH_MAX_BYTES];
	size_t path_len; /* 0: none yet; over sizeof(path): too long, or there were two */
	bool is_post;
	bool is_grpc;
	bool message_complete;
	bool responded; /* response headers were submitted */
	grpc_call_gone_fn *gone;
	void *gone_data;
	enum grpc_status status; /* once CALL_ENDED */
	char *text;		 /* percent-encoded; NULL: none */
};

static struct grpc_call *to_call(struct grpc_stream *stream)
{
	return container_of(stream, struct grpc_call, stream);
}

int grpc_call_begin(struct grpc_session *session, int32_t id)
{
	struct grpc_call *call = calloc(1, sizeof(*call));

	if (!call)
		return -ENOMEM;
	grpc_stream_init(&call->stream, session);
	call->stream.id = id;
	(void)nghttp2_session_set_stream_user_data(session->h2, id, &call->stream);
	return 0;
}

void grpc_call_header(struct grpc_stream *stream, const uint8_t *name, size_t name_len, const uint8_t *value,
		      size_t len)
{
	struct grpc_call *call = to_call(stream);

	if (name_len == 5 && memcmp(name, ":path", 5) == 0) {
		if (call->path_len == 0 && len < sizeof(call->path) && !memchr(value, '\0', len)) {
			memcpy(call->path, value, len);
			call->path_len = len;
		} else {
			call->path_len = SIZE_MAX;
		}
	} else if (name_len == 7 && memcmp(name, ":method", 7) == 0) {
		call->is_post = len == 4 && memcmp(value, "POST", 4) == 0;
	} else if (name_len == 12 && memcmp(name, "content-type", 12) == 0) {
		size_t n = strlen(CONTENT_TYPE);

		/* Also "application/grpc+proto" and "application/grpc;charset=...", but not
		 * "application/grpc-web". */
		call->is_grpc = len >= n && strncasecmp((const char *)value, CONTENT_TYPE, n) == 0 &&
				(len == n || value[n] == '+' || value[n] == ';');
	}
}

/* Ends the call with trailers only, and with an HTTP status that is not 200 when the request was not gRPC. */
static int submit_trailers_only(struct grpc_call *call, const char *http_status)
{
	char number[12];
	int n = snprintf(number, sizeof(number), "%d", (int)call->status);
	const nghttp2_nv headers[] = {
		grpc_header(":status", http_status, 3),
		grpc_header("content-type", CONTENT_TYPE, strlen(CONTENT_TYPE)),
		grpc_header("grpc-status", number, (size_t)n),
		grpc_header("grpc-message", call->text ? call->text : "",
			    call->text ? strlen(call->text) : 0),
	};

	return nghttp2_submit_response(call->stream.session->h2, call->stream.id, headers,
				       ARRAY_SIZE(headers) - (call->text ? 0 : 1), NULL);
}

static int submit_trailers(struct grpc_call *call)
{
	char number[12];
	int n = snprintf(number, sizeof(number), "%d", (int)call->status);
	const nghttp2_nv headers[] = {
		grpc_header("grpc-status", number, (size_t)n),
		grpc_header("grpc-message", call->text ? call->text : "",
			    call->text ? strlen(call->text) : 0),
	};

	return nghttp2_submit_trailer(call->stream.session->h2, call->stream.id, headers,
				      ARRAY_SIZE(headers) - (call->text ? 0 : 1));
}

/* nghttp2 asks for bytes of the answer's body. */
static ssize_t read_answer(nghttp2_session *h2, int32_t id, uint8_t *buf, size_t size, uint32_t *flags,
			   nghttp2_data_source *source, void *data)
{
	struct grpc_call *call = source->ptr;
	size_t n;

	(void)h2;
	(void)id;
	n = grpc_stream_read_out(&call->stream, buf, size);
	if (call->stream.out.data || call->stream.out_next.data)
		return (ssize_t)n;
	if (call->state == CALL_ENDED) {
		int e = submit_trailers(call);

		if (e) {
			(void)grpc_session_break(data, e);
			return NGHTTP2_ERR_CALLBACK_FAILURE;
		}
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		return (ssize_t)n;
	}
	return n > 0 ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
}

/* Begins the answer, or goes on with it: something is to be sent, or the call has ended. */
static void call_advance(struct grpc_call *call, const char *http_status)
{
	struct grpc_session *session = call->stream.session;
	int e;

	if (!call->responded && call->state == CALL_ENDED && !call->stream.out.data) {
		e = submit_trailers_only(call, http_status);
	} else if (!call->responded) {
		const nghttp2_nv headers[] = {
			grpc_header(":status", http_status, 3),
			grpc_header("content-type", CONTENT_TYPE, strlen(CONTENT_TYPE)),
		};
		const nghttp2_data_provider provider = { .source.ptr = call, .read_callback = read_answer };

		e = nghttp2_submit_response(session->h2, call->stream.id, headers, ARRAY_SIZE(headers),
					    &provider);
	} else {
		e = nghttp2_session_resume_data(session->h2, call->stream.id);
		if (e == NGHTTP2_ERR_INVALID_ARGUMENT)
			e = 0; /* it is not waiting: it will see for itself */
	}
	call->responded = true;
	if (e)
		(void)grpc_session_break(session, e);
	grpc_session_wake(session);
}

static void call_free(struct grpc_call *call)
{
	grpc_stream_done(&call->stream);
	free(call->text);
	free(call);
}

static void call_end(struct grpc_call *call, const char *http_status, enum grpc_status status,
		     const char *text)
{
	char encoded[3 * GRPC_TEXT_MAX];
	size_t len;

	if (!call->stream.session) {
		call_free(call); /* the peer was gone before */
		return;
	}
	call->state = CALL_ENDED;
	call->status = status;
	grpc_stream_drop_message(&call->stream);
	if (status != GRPC_OK && text) {
		len = grpc_text_encode(text, encoded, sizeof(encoded));
		call->text = strndup(encoded, len); /* without memory, the status goes without words */
	}
	call_advance(call, http_status);
}

void grpc_call_headers_end(struct grpc_stream *stream)
{
	struct grpc_call *call = to_call(stream);

	if (call->state != CALL_HEADERS)
		return;
	call->state = CALL_MESSAGE;
	if (!call->is_post)
		call_end(call, "405", GRPC_INTERNAL, "the method of a gRPC request is POST");
	else if (!call->is_grpc)
		call_end(call, "415", GRPC_INVALID_ARGUMENT, "content-type must be application/grpc");
	else if (call->path_len == 0 || call->path_len >= sizeof(call->path) || call->path[0] != '/')
		call_end(call, "200", GRPC_UNIMPLEMENTED, "there is no usable :path");
}

void grpc_call_data(struct grpc_stream *stream, const uint8_t *data, size_t len)
{
	struct grpc_call *call = to_call(stream);
	size_t used;

	if (call->state != CALL_MESSAGE || len == 0)
		return;
	if (!call->message_complete) {
		int r = grpc_stream_push(stream, data, len, &used);

		if (r < 0) {
			struct grpc_error error;

			grpc_push_error(&error, stream->session, r);
			call_end(call, "200", error.status, error.text);
			return;
		}
		call->message_complete = r == 1;
		len -= used;
	}
	if (len > 0)
		call_end(call, "200", GRPC_UNIMPLEMENTED, "the request holds more than one message");
}

static const struct grpc_method *find_method(const struct grpc_call *call, void **ret_data)
{
	const struct grpc_session *session = call->stream.session;

	for (size_t i = 0; i < session->n_services; i++) {
		const struct grpc_service *service = &session->services[i];

		for (size_t k = 0; k < service->n_methods; k++)
			if (strcmp(service->methods[k].path, call->path) == 0) {
				*ret_data = service->data;
				return &service->methods[k];
			}
	}
	return NULL;
}

void grpc_call_request_end(struct grpc_stream *stream)
{
	struct grpc_call *call = to_call(stream);
	const struct grpc_method *method;
	struct grpc_frame_reader reader;
	void *data;

	if (call->state != CALL_MESSAGE)
		return;
	method = find_method(call, &data);
	if (!method) {
		call_end(call, "200", GRPC_UNIMPLEMENTED, "this method is not known here");
		return;
	}
	if (!call->message_complete) {
		call_end(call, "200", GRPC_INTERNAL,
			 grpc_frame_reader_is_partial(&stream->reader) ? "the request ends inside its message"
								       : "the request holds no message");
		return;
	}
	/* The service may end the call, which drops the message: it is held here meanwhile. */
	stream->session->held -= stream->reader.allocated;
	reader = stream->reader;
	grpc_frame_reader_init(&stream->reader, reader.limit);
	call->state = CALL_SERVICE;
	method->fn(call, reader.message, reader.length, data);
	grpc_frame_reader_done(&reader);
}

void grpc_call_closed(struct grpc_stream *stream)
{
	struct grpc_call *call = to_call(stream);
	bool is_theirs = call->state == CALL_SERVICE;

	grpc_stream_done(stream);
	if (!is_theirs) {
		call_free(call);
	} else if (call->gone) {
		call->gone(call, call->gone_data);
		call_free(call);
	}
	/* Else its owner does not know yet; it is freed when he ends it. */
}

void grpc_call_set_gone(struct grpc_call *call, grpc_call_gone_fn *fn, void *data)
{
	call->gone = fn;
	call->gone_data = data;
}

const char *grpc_call_path(const struct grpc_call *call)
{
	return call->path;
}

void grpc_call_reply(struct grpc_call *call, const uint8_t *message, size_t len)
{
	int r = 0;

	if (call->stream.session)
		r = grpc_call_send_latest(call, message, len);
	if (r < 0)
		call_end(call, "200", GRPC_RESOURCE_EXHAUSTED, "out of memory for the answer");
	else
		call_end(call, "200", GRPC_OK, NULL);
}

int grpc_call_send_latest(struct grpc_call *call, const uint8_t *message, size_t len)
{
	struct grpc_stream *stream = &call->stream;
	int r;

	if (!stream->session)
		return 0;
	r = grpc_outgoing_set(stream->out.sent > 0 ? &stream->out_next : &stream->out, message, len);
	if (r < 0)
		return r;
	call_advance(call, "200");
	return 0;
}

void grpc_call_finish(struct grpc_call *call, enum grpc_status status, const char *text)
{
	call_end(call, "200", status, text);
}

void grpc_call_fail(struct grpc_call *call, enum grpc_status status, const char *format, ...)
{
	char text[GRPC_TEXT_MAX + 1];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	call_end(call, "200", status, text);
}
