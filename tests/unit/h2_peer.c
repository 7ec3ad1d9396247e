// SPDX-License-Identifier: Apache-2.0
#include "unit.h"
#include "h2_peer.h"

#include <string.h>

#include "base/cleanup.h"

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t len, uint8_t flags, void *data)
{
	struct h2_answer *a = data;

	(void)h2;
	(void)frame;
	(void)name_len;
	(void)flags;
	if (strcmp((const char *)name, ":status") == 0)
		(void)snprintf(a->status, sizeof(a->status), "%.*s", (int)len, (const char *)value);
	if (strcmp((const char *)name, "grpc-status") == 0)
		(void)snprintf(a->grpc_status, sizeof(a->grpc_status), "%.*s", (int)len, (const char *)value);
	if (strcmp((const char *)name, "grpc-message") == 0)
		(void)snprintf(a->grpc_message, sizeof(a->grpc_message), "%.*s", (int)len,
			       (const char *)value);
	if (strcmp((const char *)name, "grpc-accept-encoding") == 0)
		(void)snprintf(a->accept_encoding, sizeof(a->accept_encoding), "%.*s", (int)len,
			       (const char *)value);
	return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *bytes, size_t len,
		   void *data)
{
	struct h2_answer *a = data;

	(void)h2;
	(void)flags;
	(void)id;
	(void)bytes;
	a->n_data += len;
	return 0;
}

static int on_close(nghttp2_session *h2, int32_t id, uint32_t code, void *data)
{
	struct h2_answer *a = data;

	(void)h2;
	(void)id;
	a->closed = true;
	a->n_closed++;
	a->code = code;
	return 0;
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *data)
{
	struct h2_answer *a = data;

	(void)h2;
	if (frame->hd.type == NGHTTP2_PING && frame->hd.flags & NGHTTP2_FLAG_ACK)
		a->n_ping_acks++;
	if (frame->hd.type == NGHTTP2_GOAWAY)
		a->has_goaway = true;
	return 0;
}

ssize_t h2_peer_read_body(nghttp2_session *h2, int32_t id, uint8_t *buf, size_t size, uint32_t *flags,
			  nghttp2_data_source *source, void *data)
{
	struct h2_answer *a = data;
	size_t n = a->body_len < size ? a->body_len : size;

	(void)h2;
	(void)id;
	(void)source;
	memcpy(buf, a->body, n);
	a->body += n;
	a->body_len -= n;
	if (a->stall && n == 0)
		return NGHTTP2_ERR_DEFERRED;
	if (a->body_len == 0 && !a->stall)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

nghttp2_session *h2_peer_new(struct h2_answer *answer)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	nghttp2_session *h2;

	assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
	assert_int_equal(nghttp2_option_new(&option), 0);
	nghttp2_option_set_no_http_messaging(option, 1);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	assert_int_equal(nghttp2_session_client_new2(&h2, callbacks, answer, option), 0);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	assert_int_equal(nghttp2_submit_settings(h2, NGHTTP2_FLAG_NONE, NULL, 0), 0);
	return h2;
}

void h2_peer_talk(nghttp2_session *h2, struct grpc_session *session)
{
	bool moved = true;

	while (moved) {
		const uint8_t *bytes;
		ssize_t n = nghttp2_session_mem_send(h2, &bytes);

		assert_true(n >= 0);
		moved = n > 0;
		assert_int_equal(grpc_session_recv(session, bytes, (size_t)n), 0);
		n = grpc_session_send(session, &bytes);
		assert_true(n >= 0);
		moved = moved || n > 0;
		assert_int_equal(nghttp2_session_mem_recv(h2, bytes, (size_t)n), n);
	}
}

int32_t h2_peer_request(nghttp2_session *h2, const char *const *headers, bool has_body)
{
	const nghttp2_data_provider provider = { .read_callback = h2_peer_read_body };
	nghttp2_nv nv[16];
	size_t n = 0;

	for (; headers[n]; n++) {
		const char *equal = strchr(headers[n], '=');

		assert_true(n < ARRAY_SIZE(nv));
		nv[n] = (nghttp2_nv){ (uint8_t *)headers[n], (uint8_t *)equal + 1,
				      (size_t)(equal - headers[n]), strlen(equal + 1), NGHTTP2_NV_FLAG_NONE };
	}
	return nghttp2_submit_request(h2, NULL, nv, n, has_body ? &provider : NULL, NULL);
}
