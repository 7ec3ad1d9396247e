// SPDX-License-Identifier: Apache-2.0
/* Calls that a peer makes to us. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/loop.h"
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
	bool has_bad_timeout;
	bool is_too_long; /* its headers are */
	const struct grpc_method *method;
	void *method_data;
	uint64_t deadline_ms; /* the peer's, on our clock; UINT64_MAX: none */
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
	call->deadline_ms = UINT64_MAX;
	(void)nghttp2_session_set_stream_user_data(session->h2, id, &call->stream);
	return 0;
}

/* "1500m" and the like: at most eight digits and a unit. In milliseconds, rounded up. */
static int parse_timeout(const uint8_t *value, size_t len, uint64_t *ret)
{
	static const struct {
		char unit;
		unsigned ms, of; /* one unit is ms / of milliseconds */
	} units[] = {
		{ 'H', 3600000, 1 }, { 'M', 60000, 1 }, { 'S', 1000, 1 },
		{ 'm', 1, 1 },	     { 'u', 1, 1000 },	{ 'n', 1, 1000000 },
	};
	uint64_t number = 0;

	if (len < 2 || len > 9)
		return -EINVAL;
	for (size_t i = 0; i < len - 1; i++) {
		if (value[i] < '0' || value[i] > '9')
			return -EINVAL;
		number = number * 10 + (uint64_t)(value[i] - '0');
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (units[i].unit == (char)value[len - 1]) {
			*ret = (number * units[i].ms + units[i].of - 1) / units[i].of;
			return 0;
		}
	return -EINVAL;
}

void grpc_call_header(struct grpc_stream *stream, const uint8_t *name, size_t name_len, const uint8_t *value,
		      size_t len)
{
	struct grpc_call *call = to_call(stream);
	uint64_t timeout_ms;

	if (!grpc_stream_count_header(stream, name_len, len)) {
		call->is_too_long = true;
	} else if (name_len == 5 && memcmp(name, ":path", 5) == 0) {
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
	} else if (name_len == 12 && memcmp(name, "grpc-timeout", 12) == 0) {
		call->has_bad_timeout = parse_timeout(value, len, &timeout_ms) < 0;
		if (!call->has_bad_timeout)
			call->deadline_ms = loop_now_ms() + timeout_ms;
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
		grpc_header("grpc-accept-encoding", "identity", 8), /* for who sent something compressed */
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
	if (grpc_stream_has_out(&call->stream))
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

static void find_method(struct grpc_call *call)
{
	const struct grpc_session *session = call->stream.session;

	for (size_t i = 0; i < session->n_services; i++) {
		const struct grpc_service *service = &session->services[i];

		for (size_t k = 0; k < service->n_methods; k++)
			if (strcmp(service->methods[k].path, call->path) == 0) {
				call->method = &service->methods[k];
				call->method_data = service->data;
				return;
			}
	}
}

void grpc_call_headers_end(struct grpc_stream *stream)
{
	struct grpc_call *call = to_call(stream);

	if (call->state != CALL_HEADERS)
		return;
	call->state = CALL_MESSAGE;
	find_method(call);
	if (call->is_too_long)
		call_end(call, "431", GRPC_RESOURCE_EXHAUSTED, "the headers are too long");
	else if (!call->is_post)
		call_end(call, "405", GRPC_INTERNAL, "the method of a gRPC request is POST");
	else if (!call->is_grpc)
		call_end(call, "415", GRPC_INVALID_ARGUMENT, "content-type must be application/grpc");
	else if (call->path_len == 0 || call->path_len >= sizeof(call->path) || call->path[0] != '/')
		call_end(call, "200", GRPC_UNIMPLEMENTED, "there is no usable :path");
	else if (!call->method)
		call_end(call, "200", GRPC_UNIMPLEMENTED, "this method is not known here");
	else if (call->has_bad_timeout)
		call_end(call, "400", GRPC_INTERNAL, "grpc-timeout is not a time");
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

void grpc_call_request_end(struct grpc_stream *stream)
{
	struct grpc_call *call = to_call(stream);
	struct grpc_frame_reader reader;

	if (call->state != CALL_MESSAGE)
		return;
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
	call->method->fn(call, reader.message, reader.length, call->method_data);
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

bool grpc_call_is_served(const struct grpc_stream *stream)
{
	return container_of(stream, struct grpc_call, stream)->state == CALL_SERVICE;
}

uint64_t grpc_call_deadline_ms(const struct grpc_stream *stream)
{
	return container_of(stream, struct grpc_call, stream)->deadline_ms;
}

void grpc_call_expire(struct grpc_stream *stream)
{
	struct grpc_call *call = to_call(stream);

	if (call->deadline_ms > loop_now_ms())
		return;
	call->deadline_ms = UINT64_MAX;
	grpc_stream_reset(stream, NGHTTP2_CANCEL);
}

int64_t grpc_call_time_left_ms(const struct grpc_call *call)
{
	uint64_t now = loop_now_ms();

	if (call->deadline_ms == UINT64_MAX)
		return -1;
	return call->deadline_ms > now ? (int64_t)(call->deadline_ms - now) : 0;
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
		call_end(call, "200", GRPC_RESOURCE_EXHAUSTED,
			 r == -ENOBUFS ? "too many answers are unread" : "out of memory for the answer");
	else
		call_end(call, "200", GRPC_OK, NULL);
}

int grpc_call_send_latest(struct grpc_call *call, const uint8_t *message, size_t len)
{
	int r;

	if (!call->stream.session)
		return 0;
	r = grpc_stream_put_out(&call->stream, message, len);
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
