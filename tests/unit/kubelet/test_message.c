// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <string.h>

#include "kubelet/message.h"

#define MESSAGE_MAX (4u << 20)

static const ProtobufCMessageDescriptor *const type = &v1beta1__allocate_request__descriptor;

static void a_message_survives_packing(void **state)
{
	_cleanup_message_ ProtobufCMessage *message = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	static const uint8_t in[] = "\x0a\x08\x0a\x06gaudi0";
	const V1beta1__AllocateRequest *request;
	size_t len;

	(void)state;
	assert_int_equal(kubelet_message_unpack(type, in, sizeof(in) - 1, &message), 0);
	request = (const V1beta1__AllocateRequest *)message;
	assert_int_equal(request->n_container_requests, 1);
	assert_string_equal(request->container_requests[0]->devices_ids[0], "gaudi0");
	assert_int_equal(kubelet_message_pack(message, &bytes, &len), 0);
	assert_int_equal(len, sizeof(in) - 1);
	assert_memory_equal(bytes, in, len);
}

static void an_empty_message_has_bytes(void **state)
{
	V1beta1__AllocateRequest request = V1BETA1__ALLOCATE_REQUEST__INIT;
	_cleanup_message_ ProtobufCMessage *message = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len = 1;

	(void)state;
	assert_int_equal(kubelet_message_pack(&request.base, &bytes, &len), 0);
	assert_non_null(bytes);
	assert_int_equal(len, 0);
	assert_int_equal(kubelet_message_unpack(type, bytes, 0, &message), 0);
}

static void what_is_no_message_is_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
		{ "\x0a", 1 },			       /* no length */
		{ "\x0a\xff\xff\xff\xff\x0f", 6 },     /* 4 GiB of nothing */
		{ "\x0a\x03\x0a\x02x", 5 },	       /* cut inside */
		{ "\xff\xff\xff\xff\xff\xff\xff", 7 }, /* a tag without end */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ProtobufCMessage *message = NULL;

		assert_int_equal(
			kubelet_message_unpack(type, (const uint8_t *)cases[i].bytes, cases[i].len, &message),
			-EBADMSG);
		assert_null(message);
	}
}

/* Two bytes are an empty message inside, or a field nobody knows, which take fifty. */
static void a_message_that_grows_when_unpacked_is_refused(void **state)
{
	static const char *const pieces[] = { "\x0a\x00", "\x78\x01" };
	uint8_t *bytes = malloc(MESSAGE_MAX);

	(void)state;
	assert_non_null(bytes);
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		ProtobufCMessage *message = NULL;

		for (size_t k = 0; k < MESSAGE_MAX; k += 2)
			memcpy(bytes + k, pieces[i], 2);
		assert_int_equal(kubelet_message_unpack(type, bytes, MESSAGE_MAX, &message), -ENOMEM);
		assert_null(message);
		/* A small part of it is nothing to worry about. */
		assert_int_equal(kubelet_message_unpack(type, bytes, MESSAGE_MAX / 32, &message), 0);
		kubelet_message_free(message);
	}
	free(bytes);
}

/* The longest that a server takes, full of names of devices. */
static void a_long_message_of_names_is_taken(void **state)
{
	static const char piece[] = "\x0a\x0c"
				    "0000:03:00.0";
	const size_t n = MESSAGE_MAX / (sizeof(piece) - 1);
	_cleanup_message_ ProtobufCMessage *message = NULL;
	uint8_t *bytes = malloc(MESSAGE_MAX);

	(void)state;
	assert_non_null(bytes);
	for (size_t i = 0; i < n; i++)
		memcpy(bytes + i * (sizeof(piece) - 1), piece, sizeof(piece) - 1);
	assert_int_equal(kubelet_message_unpack(&v1beta1__pre_start_container_request__descriptor, bytes,
						n * (sizeof(piece) - 1), &message),
			 0);
	assert_int_equal(((V1beta1__PreStartContainerRequest *)message)->n_devices_ids, n);
	free(bytes);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_message_survives_packing),
	cmocka_unit_test(an_empty_message_has_bytes),
	cmocka_unit_test(what_is_no_message_is_refused),
	cmocka_unit_test(a_message_that_grows_when_unpacked_is_refused),
	cmocka_unit_test(a_long_message_of_names_is_taken),
};

UNIT_MAIN(tests)
