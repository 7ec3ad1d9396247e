// SPDX-License-Identifier: Apache-2.0
/* A server's session against what peers send: recorded, unusual, wrong, and random. */
#include "../unit.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "../h2_peer.h"
#include "base/num.h"
#include "grpc/session.h"

#define PATH "/v1beta1.DevicePlugin/Allocate"

/*
 * grpc-go 1.85 calling Allocate with the device "AM1", as the kubelet's plugin
 * watcher dials: its :authority is the path of the socket, which HTTP forbids.
 */
static const char recorded[] =
	"505249202a20485454502f322e300d0a0d0a534d0d0a0d0a0000000400000000000000000401000000000000710104000000018386"
	"459663b8632a4615ef97b9885d745b31aa621a28390692ff419f63b8ec628346c75b632d054b1217b98855aba2d98d5218ae8b6635"
	"4ba0e4eb5f8b1d75d0620d263d4c4d65647a8a9acac8b4c7602bbcdae040027465864d833505b11f40899acac8b24d494f6a7f8613"
	"efb4d0836f00000c00010000000100000000070a050a03414d3100000408000000000000000045000008060000000000020410"
	"10090e0707";
static const uint8_t allocate_am1[] = { 0x0a, 0x05, 0x0a, 0x03, 'A', 'M', '1' };
/* grpc-status: 0 as our side encodes it; it ends a good answer. */
static const uint8_t status_ok[] = { 0x40, 0x88, 0x9a, 0xca, 0xc8, 0xb2, 0x12, 0x34, 0xda, 0x8f, 0x01, 0x30 };

struct seen {
	unsigned n_calls;
	uint8_t message[16];
	size_t len;
};

static void take(struct grpc_call *call, const uint8_t *message, size_t len, void *data)
{
	struct seen *seen = data;

	seen->n_calls++;
	seen->len = len;
	memcpy(seen->message, message, len < sizeof(seen->message) ? len : sizeof(seen->message));
	grpc_call_reply(call, message, len);
}

static const struct grpc_method methods[] = { { PATH, take } };

static struct grpc_session *new_server(struct grpc_service *service, struct seen *seen)
{
	const struct grpc_session_options options = { .services = service, .n_services = 1 };
	struct grpc_session *session = NULL;

	*service = (struct grpc_service){ methods, ARRAY_SIZE(methods), seen };
	assert_int_equal(grpc_session_new_server(&options, &session), 0);
	return session;
}

static size_t from_hex(const char *hex, uint8_t *out, size_t size)
{
	size_t n = strlen(hex) / 2;

	assert_true(n <= size);
	for (size_t i = 0; i < n; i++) {
		const char digits[] = { hex[2 * i], hex[2 * i + 1], '\0' };
		uint64_t value;

		assert_int_equal(num_parse_hex(digits, 0xff, &value), 0);
		out[i] = (uint8_t)value;
	}
	return n;
}

/* Takes what the session has to send, onto the end of out. */
static size_t drain(struct grpc_session *session, uint8_t *out, size_t len, size_t size)
{
	const uint8_t *bytes;
	ssize_t n;

	while ((n = grpc_session_send(session, &bytes)) > 0) {
		assert_true(len + (size_t)n <= size);
		memcpy(out + len, bytes, (size_t)n);
		len += (size_t)n;
	}
	assert_int_equal(n, 0);
	return len;
}

static void grpc_go_is_answered_for_every_split(void **state)
{
	uint8_t in[512], out[4096];
	size_t n = from_hex(recorded, in, sizeof(in));

	(void)state;
	for (size_t split = 0; split <= n; split++) {
		struct seen seen = { 0 };
		struct grpc_service service;
		struct grpc_session *session = new_server(&service, &seen);
		size_t len;

		assert_int_equal(grpc_session_recv(session, in, split), 0);
		len = drain(session, out, 0, sizeof(out));
		assert_int_equal(grpc_session_recv(session, in + split, n - split), 0);
		len = drain(session, out, len, sizeof(out));
		assert_int_equal(seen.n_calls, 1);
		assert_int_equal(seen.len, sizeof(allocate_am1));
		assert_memory_equal(seen.message, allocate_am1, sizeof(allocate_am1));
		assert_int_equal(out[3], NGHTTP2_SETTINGS);
		assert_non_null(memmem(out, len, status_ok, sizeof(status_ok)));
		grpc_session_free(session);
	}
}

/* --- a peer of nghttp2 that sends whatever headers it is given ------------------ */

/* headers: "name=value" each, NULL at the end. body NULL: the headers end the stream. */
static void exchange(const char *const *headers, const uint8_t *body, size_t len, struct h2_answer *answer,
		     struct seen *seen)
{
	struct grpc_service service;
	struct grpc_session *session = new_server(&service, seen);
	nghttp2_session *h2 = h2_peer_new(answer);

	answer->body = body;
	answer->body_len = len;
	assert_true(h2_peer_request(h2, headers, body != NULL) > 0);
	h2_peer_talk(h2, session);
	assert_true(answer->closed);
	assert_int_equal(grpc_session_n_open(session), 0);
	nghttp2_session_del(h2);
	grpc_session_free(session);
}

#define METHOD ":method=POST"
#define SCHEME ":scheme=http"
#define TYPE "content-type=application/grpc"

static const uint8_t message[] = { 0, 0, 0, 0, 2, 'h', 'i' };

static void every_form_of_authority_is_taken(void **state)
{
	static const char *const authorities[] = {
		":authority=localhost",
		":authority=/var/lib/kubelet/plugins_registry/gaudi-reg.sock",
		":authority=%2Fvar%2Flib%2Fkubelet%2Fplugins_registry%2Fgaudi-reg.sock",
		":authority=",
		":authority=a b\\c",
		"host=localhost", /* and none */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(authorities); i++) {
		const char *const headers[] = { METHOD, SCHEME,	       ":path=" PATH, authorities[i],
						TYPE,	"te=trailers", NULL };
		struct h2_answer answer = { 0 };
		struct seen seen = { 0 };

		exchange(headers, message, sizeof(message), &answer, &seen);
		assert_int_equal(seen.n_calls, 1);
		assert_string_equal(answer.status, "200");
		assert_string_equal(answer.grpc_status, "0");
		assert_int_equal(answer.n_data, sizeof(message));
	}
}

static void content_types_of_grpc_are_taken(void **state)
{
	static const char *const types[] = { "content-type=application/grpc+proto",
					     "content-type=Application/gRPC",
					     "content-type=application/grpc;charset=utf-8" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		const char *const headers[] = { METHOD, SCHEME, ":path=" PATH, types[i], NULL };
		struct h2_answer answer = { 0 };
		struct seen seen = { 0 };

		exchange(headers, message, sizeof(message), &answer, &seen);
		assert_int_equal(seen.n_calls, 1);
	}
}

static void headers_that_are_no_grpc_are_refused(void **state)
{
	static char long_path[400] = ":path=/";
	static const struct {
		const char *headers[6];
		const char *status, *grpc_status;
	} cases[] = {
		{ { ":method=GET", SCHEME, ":path=" PATH, TYPE }, "405", "13" },
		{ { SCHEME, ":path=" PATH, TYPE }, "405", "13" },
		{ { METHOD, SCHEME, ":path=" PATH }, "415", "3" },
		{ { METHOD, SCHEME, ":path=" PATH, "content-type=text/html" }, "415", "3" },
		{ { METHOD, SCHEME, ":path=" PATH, "content-type=application/grpc-web" }, "415", "3" },
		{ { METHOD, SCHEME, ":path=" PATH, "content-type=application/grp" }, "415", "3" },
		{ { METHOD, SCHEME, TYPE }, "200", "12" },
		{ { METHOD, SCHEME, ":path=", TYPE }, "200", "12" },
		{ { METHOD, SCHEME, ":path=" PATH, ":path=" PATH, TYPE }, "200", "12" },
		{ { METHOD, SCHEME, ":path=v1beta1.DevicePlugin/Allocate", TYPE }, "200", "12" },
		{ { METHOD, SCHEME, ":path=" PATH "x", TYPE }, "200", "12" },
		{ { METHOD, SCHEME, ":path=*", TYPE }, "200", "12" },
		{ { METHOD, SCHEME, long_path, TYPE }, "200", "12" },
	};

	(void)state;
	memset(long_path + 7, 'x', sizeof(long_path) - 8);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct h2_answer answer = { 0 };
		struct seen seen = { 0 };

		exchange(cases[i].headers, message, sizeof(message), &answer, &seen);
		assert_int_equal(seen.n_calls, 0);
		assert_string_equal(answer.status, cases[i].status);
		assert_string_equal(answer.grpc_status, cases[i].grpc_status);
		assert_true(strlen(answer.grpc_message) > 0);
	}
}

static void bodies_that_are_not_one_message_are_refused(void **state)
{
	static const struct {
		const char *body;
		size_t len;
		const char *grpc_status;
	} cases[] = {
		{ NULL, 0, "13" }, /* no body */
		{ "", 0, "13" },
		{ "\0\0", 2, "13" },
		{ "\0\0\0\0\2h", 6, "13" },
		{ "\0\0\0\0\1a\0\0\0\0\1b", 12, "12" }, /* two */
		{ "\0\0\0\0\1ab", 7, "12" },		/* and a byte */
		{ "\1\0\0\0\1a", 6, "12" },		/* compressed */
		{ "\7\0\0\0\1a", 6, "13" },
		{ "\0\xff\xff\xff\xff"
		  "a",
		  6, "8" },		    /* 4 GiB announced */
		{ "\0\0\x40\0\1", 5, "8" }, /* one over the limit */
	};
	static const char *const headers[] = { METHOD, SCHEME, ":path=" PATH, TYPE, NULL };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct h2_answer answer = { 0 };
		struct seen seen = { 0 };

		exchange(headers, (const uint8_t *)cases[i].body, cases[i].len, &answer, &seen);
		assert_int_equal(seen.n_calls, 0);
		assert_string_equal(answer.status, "200");
		assert_string_equal(answer.grpc_status, cases[i].grpc_status);
		assert_string_equal(answer.accept_encoding, "identity");
		assert_int_equal(answer.n_data, 0);
	}
}

/* Each message is within the limit and none is ever finished. */
static void messages_under_way_are_bounded_together(void **state)
{
	static const uint8_t body[GRPC_FRAME_PREFIX + 990] = { 0, 0, 0, 1000 >> 8, 1000 & 0xff };
	nghttp2_nv nv[] = {
		{ (uint8_t *)":method", (uint8_t *)"POST", 7, 4, 0 },
		{ (uint8_t *)":path", (uint8_t *)PATH, 5, strlen(PATH), 0 },
		{ (uint8_t *)"content-type", (uint8_t *)"application/grpc", 12, 16, 0 },
	};
	const nghttp2_data_provider provider = { .read_callback = h2_peer_read_body };
	struct seen seen = { 0 };
	struct grpc_service service = { methods, ARRAY_SIZE(methods), &seen };
	const struct grpc_session_options options = { .services = &service,
						      .n_services = 1,
						      .message_max = 1000 };
	struct grpc_session *session;
	struct h2_answer answer = { .stall = true };
	nghttp2_session *h2 = h2_peer_new(&answer);

	(void)state;
	assert_int_equal(grpc_session_new_server(&options, &session), 0);
	for (size_t i = 1; i <= 6; i++) {
		answer.body = body;
		answer.body_len = sizeof(body);
		answer.closed = false;
		assert_true(nghttp2_submit_request(h2, NULL, nv, ARRAY_SIZE(nv), &provider, NULL) > 0);
		h2_peer_talk(h2, session);
		/* Four limits are held at a time; what is refused is no longer held. */
		assert_int_equal(answer.closed, i > 4);
		assert_int_equal(grpc_session_n_open(session), i > 4 ? 4 : i);
	}
	assert_string_equal(answer.grpc_status, "8");
	nghttp2_session_del(h2);
	grpc_session_free(session);
}

/* Deterministic, so that a failure can be seen again. */
static void broken_bytes_do_no_harm(void **state)
{
	uint8_t in[512], bytes[512];
	size_t n = from_hex(recorded, in, sizeof(in));
	uint32_t random = 1;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct seen seen = { 0 };
		struct grpc_service service;
		struct grpc_session *session = new_server(&service, &seen);
		const uint8_t *out;
		size_t len = n;

		memcpy(bytes, in, n);
		for (unsigned i = 0; i <= round % 4; i++) {
			random = random * 1664525 + 1013904223;
			bytes[24 + (random >> 8) % (n - 24)] = (uint8_t)(random >> 24);
		}
		if (round % 5 == 0)
			len = (random >> 4) % n;
		(void)grpc_session_recv(session, bytes, len);
		while (grpc_session_send(session, &out) > 0)
			;
		(void)grpc_session_recv(session, bytes, len);
		assert_true(seen.n_calls <= 2);
		grpc_session_free(session);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(grpc_go_is_answered_for_every_split),
	cmocka_unit_test(every_form_of_authority_is_taken),
	cmocka_unit_test(content_types_of_grpc_are_taken),
	cmocka_unit_test(headers_that_are_no_grpc_are_refused),
	cmocka_unit_test(bodies_that_are_not_one_message_are_refused),
	cmocka_unit_test(messages_under_way_are_bounded_together),
	cmocka_unit_test(broken_bytes_do_no_harm),
};

UNIT_MAIN(tests)
