// SPDX-License-Identifier: Apache-2.0
/*
 * lib/grpc and the kubelet's messages. The first byte picks one of:
 *   'S'  bytes from a peer to our server       'C'  bytes from a server to our client
 *   's'  steps of a peer that speaks HTTP/2    'c'  the same for the client
 *        well and gRPC badly
 *   'F'  messages in frames                    'T'  texts of trailers
 *   'M'  messages of protobuf
 */
#include <nghttp2/nghttp2.h>
#include <string.h>

#include "fuzz_input.h"
#include "grpc/session.h"
#include "kubelet/message.h"

#define HELD_MAX 8
#define MESSAGE_MAX 512
#define STEPS_MAX 200

/* --- our side -------------------------------------------------------------- */

struct side {
	struct grpc_session *session;
	struct grpc_call *held[HELD_MAX];
	struct grpc_request *requests[HELD_MAX];
};

static void on_gone(struct grpc_call *call, void *data)
{
	struct side *side = data;

	for (size_t i = 0; i < HELD_MAX; i++)
		if (side->held[i] == call) {
			side->held[i] = NULL;
			return;
		}
	fuzz_assert(!"gone without being held");
}

static void echo(struct grpc_call *call, const uint8_t *message, size_t len, void *data)
{
	(void)data;
	fuzz_assert(len <= MESSAGE_MAX && message);
	grpc_call_reply(call, message, len);
}

static void hold(struct grpc_call *call, const uint8_t *message, size_t len, void *data)
{
	struct side *side = data;

	for (size_t i = 0; i < HELD_MAX; i++)
		if (!side->held[i]) {
			side->held[i] = call;
			grpc_call_set_gone(call, on_gone, side);
			if (len > 0 && message[0] == 'w')
				(void)grpc_call_send_latest(call, message, len);
			return;
		}
	grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "too many: %s", grpc_call_path(call));
}

static const struct grpc_method methods[] = { { "/t.T/Echo", echo }, { "/t.T/Hold", hold } };

static void on_message(struct grpc_request *request, const uint8_t *message, size_t len, void *data)
{
	(void)request;
	(void)data;
	fuzz_assert(len <= MESSAGE_MAX && message);
}

static void on_done(struct grpc_request *request, const struct grpc_error *error, void *data)
{
	struct side *side = data;

	fuzz_assert(error->status == GRPC_OK || error->text[0]);
	for (size_t i = 0; i < HELD_MAX; i++)
		if (side->requests[i] == request)
			side->requests[i] = NULL;
}

static const struct grpc_reply_handler handler = { on_message, on_done };

static void side_begin(struct side *side, struct grpc_service *service, bool is_server)
{
	const struct grpc_session_options options = {
		.services = is_server ? service : NULL,
		.n_services = is_server ? 1 : 0,
		.message_max = MESSAGE_MAX,
	};

	*service = (struct grpc_service){ methods, ARRAY_SIZE(methods), side };
	fuzz_assert((is_server ? grpc_session_new_server(&options, &side->session)
			       : grpc_session_new_client(&options, &side->session)) == 0);
}

static void side_request(struct side *side, const uint8_t *message, size_t len)
{
	for (size_t i = 0; i < HELD_MAX; i++)
		if (!side->requests[i]) {
			(void)grpc_session_request(side->session, "/t.T/Echo", message, len, (unsigned)len,
						   &handler, side, &side->requests[i]);
			return;
		}
}

static void side_end(struct side *side)
{
	grpc_session_free(side->session);
	for (size_t i = 0; i < HELD_MAX; i++)
		fuzz_assert(!side->held[i] && !side->requests[i]);
}

static void side_drain(struct side *side)
{
	const uint8_t *out;

	while (grpc_session_send(side->session, &out) > 0)
		;
}

/* One thing that a service or a program does. */
static void side_step(struct side *side, struct fuzz_input *in)
{
	uint8_t what = fuzz_byte(in);
	size_t slot = what % HELD_MAX, len;
	const uint8_t *bytes = fuzz_bytes(in, fuzz_byte(in), &len);
	struct grpc_call *call = side->held[slot];

	switch (what / HELD_MAX % 7) {
	case 0:
		side_request(side, bytes, len);
		break;
	case 1:
		grpc_request_cancel(TAKE_PTR(side->requests[slot]));
		break;
	case 2:
		if (call)
			(void)grpc_call_send_latest(call, bytes, len);
		break;
	case 3:
		side->held[slot] = NULL;
		if (call)
			grpc_call_reply(call, bytes, len);
		break;
	case 4:
		side->held[slot] = NULL;
		if (call)
			grpc_call_fail(call, (enum grpc_status)(len % 17), "%.*s", (int)len,
				       (const char *)bytes);
		break;
	case 5:
		fuzz_assert(grpc_session_n_served(side->session) <= grpc_session_n_open(side->session));
		if (grpc_session_timeout_ms(side->session) >= 0)
			grpc_session_expire(side->session);
		break;
	default:
		grpc_session_shutdown(side->session);
		break;
	}
}

/* --- bytes ----------------------------------------------------------------- */

static void fuzz_raw(struct fuzz_input *in, bool is_server)
{
	struct grpc_service service;
	struct side side = { 0 };
	size_t chunk = fuzz_byte(in);

	side_begin(&side, &service, is_server);
	if (!is_server)
		for (unsigned i = 0; i < 3; i++)
			side_request(&side, (const uint8_t *)"abc", i);
	side_drain(&side);
	while (in->len > 0) {
		size_t len;
		const uint8_t *bytes = fuzz_bytes(in, chunk ? chunk : in->len, &len);

		if (grpc_session_recv(side.session, bytes, len) < 0)
			break;
		if (chunk % 2)
			side_drain(&side);
	}
	side_drain(&side);
	side_end(&side);
}

/* --- a peer on nghttp2, without its checks of HTTP -------------------------- */

struct peer {
	nghttp2_session *h2;
	bool is_server;
	int32_t last_id;
	const uint8_t *body; /* what all its streams send */
	size_t body_len;
	bool never_ends;
};

static int on_peer_begin(nghttp2_session *h2, const nghttp2_frame *frame, void *data)
{
	struct peer *peer = data;

	(void)h2;
	peer->last_id = frame->hd.stream_id;
	return 0;
}

static ssize_t read_body(nghttp2_session *h2, int32_t id, uint8_t *buf, size_t size, uint32_t *flags,
			 nghttp2_data_source *source, void *data)
{
	struct peer *peer = data;
	size_t n = peer->body_len < size ? peer->body_len : size;

	(void)h2;
	(void)id;
	(void)source;
	if (n > 0)
		memcpy(buf, peer->body, n);
	peer->body += n;
	peer->body_len -= n;
	if (peer->body_len == 0 && peer->never_ends)
		return n > 0 ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
	if (peer->body_len == 0)
		*flags |= NGHTTP2_DATA_FLAG_EOF | (peer->is_server ? NGHTTP2_DATA_FLAG_NO_END_STREAM : 0);
	return (ssize_t)n;
}

static void peer_begin(struct peer *peer, bool is_server)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;

	peer->is_server = is_server;
	fuzz_assert(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0);
	nghttp2_option_set_no_http_messaging(option, 1);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_peer_begin);
	fuzz_assert((is_server ? nghttp2_session_server_new2(&peer->h2, callbacks, peer, option)
			       : nghttp2_session_client_new2(&peer->h2, callbacks, peer, option)) == 0);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	(void)nghttp2_submit_settings(peer->h2, NGHTTP2_FLAG_NONE, NULL, 0);
}

/* A known header, or one with a value of the input. */
static nghttp2_nv make_header(struct fuzz_input *in)
{
	static const char *const known[][2] = {
		{ ":method", "POST" },
		{ ":scheme", "http" },
		{ ":path", "/t.T/Echo" },
		{ ":path", "/t.T/Hold" },
		{ "content-type", "application/grpc" },
		{ ":authority", "/var/lib/kubelet/x" },
		{ ":status", "200" },
		{ "grpc-status", "0" },
		{ "grpc-message", "a%20b" },
		{ "grpc-timeout", "100m" },
		{ "grpc-encoding", "gzip" },
		{ "te", "trailers" },
	};
	uint8_t what = fuzz_byte(in);
	const char *const *pair = known[what % ARRAY_SIZE(known)];
	nghttp2_nv nv = { (uint8_t *)pair[0], (uint8_t *)pair[1], strlen(pair[0]), strlen(pair[1]),
			  NGHTTP2_NV_FLAG_NONE };

	if (what >= 128) {
		size_t len;

		nv.value = (uint8_t *)fuzz_bytes(in, what - 128, &len);
		nv.valuelen = len;
	}
	return nv;
}

static void peer_headers(struct peer *peer, struct fuzz_input *in)
{
	static const char *const usual[2][3][2] = {
		{ { ":method", "POST" }, { "content-type", "application/grpc" }, { ":path", "/t.T/Hold" } },
		{ { ":status", "200" }, { "content-type", "application/grpc" }, { "x", "y" } },
	};
	const nghttp2_data_provider provider = { .read_callback = read_body };
	uint8_t what = fuzz_byte(in);
	size_t n = what % 8;
	nghttp2_nv nv[16];

	for (size_t i = 0; i < n; i++)
		nv[i] = make_header(in);
	for (size_t i = 0; (what & 8) && i < 3; i++) {
		const char *const *pair = usual[peer->is_server][i];

		nv[n++] = (nghttp2_nv){ (uint8_t *)pair[0], (uint8_t *)pair[1], strlen(pair[0]),
					strlen(pair[1]), NGHTTP2_NV_FLAG_NONE };
	}
	peer->body = fuzz_bytes(in, what & 16 ? fuzz_byte(in) : 0, &peer->body_len);
	peer->never_ends = what & 32;
	if (peer->is_server && what & 64)
		(void)nghttp2_submit_trailer(peer->h2, peer->last_id, nv, n);
	else if (peer->is_server)
		(void)nghttp2_submit_response(peer->h2, peer->last_id, nv, n, what & 16 ? &provider : NULL);
	else
		(void)nghttp2_submit_request(peer->h2, NULL, nv, n, what & 16 ? &provider : NULL, NULL);
}

static void peer_step(struct peer *peer, struct fuzz_input *in)
{
	uint8_t what = fuzz_byte(in);
	int32_t id = peer->is_server ? peer->last_id : 1 + 2 * (what / 8 % 8);
	nghttp2_settings_entry setting = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, what * 16u };

	switch (what % 8) {
	case 0:
		(void)nghttp2_submit_rst_stream(peer->h2, NGHTTP2_FLAG_NONE, id, what / 16);
		break;
	case 1:
		(void)nghttp2_submit_ping(peer->h2, NGHTTP2_FLAG_NONE, NULL);
		break;
	case 2:
		(void)nghttp2_submit_settings(peer->h2, NGHTTP2_FLAG_NONE, &setting, 1);
		break;
	case 3:
		(void)nghttp2_submit_window_update(peer->h2, NGHTTP2_FLAG_NONE, what & 16 ? id : 0,
						   what * 100);
		break;
	case 4:
		(void)nghttp2_submit_goaway(peer->h2, NGHTTP2_FLAG_NONE, id, what / 32, NULL, 0);
		break;
	case 5:
		(void)nghttp2_session_resume_data(peer->h2, id);
		break;
	default:
		peer_headers(peer, in);
		break;
	}
}

/* Moves what both have, at most a few times: answers make answers. */
static bool pump(struct peer *peer, struct side *side)
{
	for (unsigned i = 0; i < 50; i++) {
		const uint8_t *bytes;
		ssize_t n = nghttp2_session_mem_send(peer->h2, &bytes), m;

		if (n < 0 || grpc_session_recv(side->session, bytes, (size_t)n) < 0)
			return false;
		m = grpc_session_send(side->session, &bytes);
		if (m < 0 || nghttp2_session_mem_recv(peer->h2, bytes, (size_t)m) < 0)
			return false;
		if (n == 0 && m == 0)
			break;
	}
	return true;
}

static void fuzz_steps(struct fuzz_input *in, bool is_server)
{
	struct grpc_service service;
	struct side side = { 0 };
	struct peer peer = { 0 };
	bool alive = true;

	side_begin(&side, &service, is_server);
	peer_begin(&peer, !is_server);
	for (unsigned i = 0; in->len > 0 && i < STEPS_MAX && alive; i++) {
		uint8_t what = fuzz_byte(in);

		if (what % 4 == 0)
			side_step(&side, in);
		else
			peer_step(&peer, in);
		if (what & 128)
			alive = pump(&peer, &side);
	}
	side_drain(&side);
	side_end(&side);
	nghttp2_session_del(peer.h2);
}

/* --- parsers by themselves ---------------------------------------------------- */

static void fuzz_frames(struct fuzz_input *in)
{
	struct grpc_frame_reader reader;
	size_t chunk = 1 + fuzz_byte(in);

	grpc_frame_reader_init(&reader, MESSAGE_MAX);
	while (in->len > 0) {
		size_t len, used;
		const uint8_t *bytes = fuzz_bytes(in, chunk, &len);

		while (len > 0) {
			int r = grpc_frame_reader_push(&reader, bytes, len, &used);

			fuzz_assert(used <= len && reader.allocated <= MESSAGE_MAX);
			fuzz_assert(r <= 0 || (reader.message && reader.length <= MESSAGE_MAX));
			fuzz_assert(r != 0 || used == len);
			if (r < 0)
				break;
			bytes += used;
			len -= used;
		}
	}
	grpc_frame_reader_done(&reader);
}

static void fuzz_text(struct fuzz_input *in)
{
	char text[300], encoded[900], decoded[300];
	size_t len = in->len < sizeof(text) - 1 ? in->len : sizeof(text) - 1;

	(void)grpc_status_parse((const char *)in->data, in->len);
	fuzz_assert(grpc_text_decode((const char *)in->data, in->len, decoded, sizeof(decoded)) ==
		    strlen(decoded));
	if (len > 0)
		memcpy(text, in->data, len);
	text[len] = '\0';
	len = grpc_text_encode(text, encoded, sizeof(encoded));
	for (size_t i = 0; i < len; i++)
		fuzz_assert(encoded[i] >= 0x20 && encoded[i] <= 0x7e);
	fuzz_assert(grpc_text_decode(encoded, len, decoded, sizeof(decoded)) == strlen(text));
}

static void fuzz_messages(struct fuzz_input *in)
{
	static const ProtobufCMessageDescriptor *const types[] = {
		&v1beta1__allocate_request__descriptor,
		&v1beta1__allocate_response__descriptor,
		&v1beta1__preferred_allocation_request__descriptor,
		&v1beta1__pre_start_container_request__descriptor,
		&v1beta1__list_and_watch_response__descriptor,
		&v1beta1__register_request__descriptor,
		&pluginregistration__registration_status__descriptor,
		&v1__list_pod_resources_response__descriptor,
	};
	const ProtobufCMessageDescriptor *type = types[fuzz_byte(in) % ARRAY_SIZE(types)];
	_cleanup_message_ ProtobufCMessage *message = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;

	if (kubelet_message_unpack(type, in->data, in->len, &message) < 0)
		return;
	fuzz_assert(kubelet_message_pack(message, &bytes, &len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_input in = { data, len };

	switch (fuzz_byte(&in)) {
	case 'S':
		fuzz_raw(&in, true);
		break;
	case 'C':
		fuzz_raw(&in, false);
		break;
	case 's':
		fuzz_steps(&in, true);
		break;
	case 'c':
		fuzz_steps(&in, false);
		break;
	case 'F':
		fuzz_frames(&in);
		break;
	case 'T':
		fuzz_text(&in);
		break;
	case 'M':
		fuzz_messages(&in);
		break;
	default:
		return -1; /* not to be kept */
	}
	return 0;
}
