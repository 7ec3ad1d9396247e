// SPDX-License-Identifier: Apache-2.0
/* Calls that we make to a peer. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/num.h"
#include "session_impl.h"

struct grpc_request {
	struct grpc_stream stream;
	const struct grpc_reply_handler *handler; /* NULL: cancelled, or done was run */
	void *data;
	bool has_status;      /* grpc-status was seen */
	unsigned http_status; /* 0: not seen */
	bool is_grpc;	      /* content-type says so */
	bool failed;	      /* on our side, with error */
	bool too_long;	      /* and this is why */
	struct grpc_error error;
};

static struct grpc_request *to_request(struct grpc_stream *stream)
{
	return container_of(stream, struct grpc_request, stream);
}

/* nghttp2 asks for bytes of the request's body. */
static ssize_t read_request(nghttp2_session *h2, int32_t id, uint8_t *buf, size_t size, uint32_t *flags,
			    nghttp2_data_source *source, void *data)
{
	struct grpc_request *request = source->ptr;
	size_t n = grpc_stream_read_out(&request->stream, buf, size);

	(void)h2;
	(void)id;
	(void)data;
	if (!grpc_stream_has_out(&request->stream))
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

int grpc_session_request(struct grpc_session *session, const char *path, const uint8_t *message, size_t len,
			 unsigned timeout_ms, const struct grpc_reply_handler *handler, void *data,
			 struct grpc_request **ret)
{
	char timeout[16];
	/* At most eight digits. */
	int timeout_len = timeout_ms < 100000000
				  ? snprintf(timeout, sizeof(timeout), "%um", timeout_ms)
				  : snprintf(timeout, sizeof(timeout), "%uS", timeout_ms / 1000);
	const nghttp2_nv headers[] = {
		grpc_header(":method", "POST", 4),
		grpc_header(":scheme", "http", 4),
		grpc_header(":path", path, strlen(path)),
		grpc_header(":authority", "localhost", 9),
		grpc_header("content-type", "application/grpc", 16),
		grpc_header("te", "trailers", 8),
		grpc_header("user-agent", "gaudi-p2p", 9),
		grpc_header("grpc-timeout", timeout, (size_t)timeout_len),
	};
	nghttp2_data_provider provider = { .read_callback = read_request };
	struct grpc_request *request;
	int r;

	if (session->is_server)
		return -EINVAL;
	if (session->error || !nghttp2_session_check_request_allowed(session->h2))
		return -ENOTCONN;
	request = calloc(1, sizeof(*request));
	if (!request)
		return -ENOMEM;
	request->handler = handler;
	request->data = data;
	provider.source.ptr = request;
	grpc_stream_init(&request->stream, session);
	r = grpc_stream_put_out(&request->stream, message, len);
	if (r == 0) {
		request->stream.id = nghttp2_submit_request(session->h2, NULL, headers,
							    ARRAY_SIZE(headers) - (timeout_ms ? 0 : 1),
							    &provider, &request->stream);
		if (request->stream.id < 0)
			r = request->stream.id == NGHTTP2_ERR_NOMEM ? -ENOMEM : -ENOTCONN;
	}
	if (r < 0) {
		grpc_stream_done(&request->stream);
		free(request);
		return r;
	}
	if (ret)
		*ret = request;
	grpc_session_wake(session);
	return 0;
}

void grpc_request_cancel(struct grpc_request *request)
{
	if (!request || !request->handler)
		return;
	request->handler = NULL;
	grpc_stream_reset(&request->stream, NGHTTP2_CANCEL);
}

bool grpc_request_is_too_long(const struct grpc_request *request)
{
	return request->too_long;
}

/* A failure on our side: the peer is told at once, done is run when the stream closes. */
static void request_fail(struct grpc_request *request)
{
	request->failed = true;
	grpc_stream_reset(&request->stream, NGHTTP2_CANCEL);
}

void grpc_request_header(struct grpc_stream *stream, const uint8_t *name, size_t name_len,
			 const uint8_t *value, size_t len)
{
	struct grpc_request *request = to_request(stream);
	const char *text = (const char *)value;

	if (request->failed)
		return;
	if (!grpc_stream_count_header(stream, name_len, len)) {
		grpc_error_set(&request->error, GRPC_RESOURCE_EXHAUSTED,
			       "the headers of the answer are too long");
		request_fail(request);
	} else if (name_len == 7 && memcmp(name, ":status", 7) == 0) {
		char number[4] = "";

		if (len < sizeof(number))
			memcpy(number, value, len);
		if (num_parse_uint(number, 100, 599, &request->http_status) < 0)
			request->http_status = 599;
	} else if (name_len == 12 && memcmp(name, "content-type", 12) == 0) {
		request->is_grpc = len >= 16 && strncasecmp(text, "application/grpc", 16) == 0;
	} else if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0) {
		request->error.status = grpc_status_parse(text, len);
		request->has_status = true;
	} else if (name_len == 12 && memcmp(name, "grpc-message", 12) == 0) {
		(void)grpc_text_decode(text, len, request->error.text, sizeof(request->error.text));
	}
}

void grpc_request_data(struct grpc_stream *stream, const uint8_t *data, size_t len)
{
	struct grpc_request *request = to_request(stream);

	/* A body without content-type application/grpc is somebody's error page. */
	while (len > 0 && request->handler && !request->failed && request->is_grpc &&
	       request->http_status == 200) {
		size_t used;
		int r = grpc_stream_push(stream, data, len, &used);

		if (r < 0) {
			grpc_push_error(&request->error, stream->session, r);
			request->too_long = r == -EMSGSIZE;
			request_fail(request);
			return;
		}
		data += used;
		len -= used;
		if (r == 1) {
			if (request->handler->message)
				request->handler->message(request, stream->reader.message,
							  stream->reader.length, request->data);
			if (len == 0)
				grpc_stream_drop_message(stream);
		}
	}
}

/* The status that gRPC's mapping gives to an answer that has none. */
static enum grpc_status status_of_http(unsigned http_status)
{
	switch (http_status) {
	case 400:
		return GRPC_INTERNAL;
	case 401:
		return GRPC_UNAUTHENTICATED;
	case 403:
		return GRPC_PERMISSION_DENIED;
	case 404:
		return GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return GRPC_UNAVAILABLE;
	default:
		return GRPC_UNKNOWN;
	}
}

static enum grpc_status status_of_reset(uint32_t code)
{
	switch (code) {
	case NGHTTP2_REFUSED_STREAM:
	case NGHTTP2_CONNECT_ERROR: /* grpc_session_free() says this */
		return GRPC_UNAVAILABLE;
	case NGHTTP2_CANCEL:
		return GRPC_CANCELLED;
	case NGHTTP2_ENHANCE_YOUR_CALM:
		return GRPC_RESOURCE_EXHAUSTED;
	case NGHTTP2_INADEQUATE_SECURITY:
		return GRPC_PERMISSION_DENIED;
	default:
		return GRPC_INTERNAL;
	}
}

static void settle_error(struct grpc_request *request, uint32_t code)
{
	struct grpc_error *error = &request->error;

	if (request->failed)
		return;
	if (request->has_status) {
		if (error->status == GRPC_OK && grpc_frame_reader_is_partial(&request->stream.reader))
			grpc_error_set(error, GRPC_INTERNAL, "the answer ends inside a message");
		else if (error->status != GRPC_OK && !error->text[0])
			grpc_error_set(error, error->status, "no reason given");
		return;
	}
	if (code == NGHTTP2_CONNECT_ERROR)
		grpc_error_set(error, GRPC_UNAVAILABLE, "the connection was lost");
	else if (request->http_status && request->http_status != 200)
		grpc_error_set(error, status_of_http(request->http_status),
			       "the peer answered with HTTP status %u", request->http_status);
	else if (code != NGHTTP2_NO_ERROR)
		grpc_error_set(error, status_of_reset(code), "the peer ended the stream: %s",
			       nghttp2_http2_strerror(code));
	else
		grpc_error_set(error, GRPC_UNKNOWN, "the answer has no grpc-status");
}

void grpc_request_closed(struct grpc_stream *stream, uint32_t code)
{
	struct grpc_request *request = to_request(stream);
	const struct grpc_reply_handler *handler = TAKE_PTR(request->handler);

	if (handler) {
		settle_error(request, code);
		handler->done(request, &request->error, request->data);
	}
	grpc_stream_done(stream);
	free(request);
}
