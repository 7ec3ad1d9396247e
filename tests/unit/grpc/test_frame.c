// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "grpc/frame.h"
#include "grpc/status.h"

/* Three messages: "abc", an empty one, and one zero byte. */
static const uint8_t stream[] = { 0, 0, 0, 0, 3, 'a', 'b', 'c', 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0 };

struct seen {
	size_t n;
	size_t lengths[4];
	uint8_t first[4];
};

/* Gives bytes to the reader until they are used up. */
static int feed(struct grpc_frame_reader *reader, const uint8_t *data, size_t len, struct seen *seen)
{
	while (len > 0) {
		size_t used;
		int r = grpc_frame_reader_push(reader, data, len, &used);

		assert_true(used <= len);
		if (r < 0)
			return r;
		if (r == 1) {
			assert_non_null(reader->message);
			assert_true(seen->n < ARRAY_SIZE(seen->lengths));
			seen->lengths[seen->n] = reader->length;
			seen->first[seen->n++] = reader->length ? reader->message[0] : 0xff;
		} else {
			assert_int_equal(used, len);
		}
		data += used;
		len -= used;
	}
	return 0;
}

static void check_seen(const struct seen *seen)
{
	assert_int_equal(seen->n, 3);
	assert_int_equal(seen->lengths[0], 3);
	assert_int_equal(seen->first[0], 'a');
	assert_int_equal(seen->lengths[1], 0);
	assert_int_equal(seen->lengths[2], 1);
	assert_int_equal(seen->first[2], 0);
}

static void every_split_into_three_gives_the_same_messages(void **state)
{
	(void)state;
	for (size_t a = 0; a <= sizeof(stream); a++)
		for (size_t b = a; b <= sizeof(stream); b++) {
			struct grpc_frame_reader reader;
			struct seen seen = { 0 };

			grpc_frame_reader_init(&reader, 16);
			assert_int_equal(feed(&reader, stream, a, &seen), 0);
			assert_int_equal(feed(&reader, stream + a, b - a, &seen), 0);
			assert_int_equal(feed(&reader, stream + b, sizeof(stream) - b, &seen), 0);
			check_seen(&seen);
			assert_false(grpc_frame_reader_is_partial(&reader));
			grpc_frame_reader_done(&reader);
		}
}

static void single_bytes_give_the_same_messages(void **state)
{
	struct grpc_frame_reader reader;
	struct seen seen = { 0 };

	(void)state;
	grpc_frame_reader_init(&reader, 16);
	for (size_t i = 0; i < sizeof(stream); i++)
		assert_int_equal(feed(&reader, stream + i, 1, &seen), 0);
	check_seen(&seen);
	grpc_frame_reader_done(&reader);
}

static void an_unfinished_message_is_partial(void **state)
{
	(void)state;
	for (size_t n = 0; n < 8; n++) {
		struct grpc_frame_reader reader;
		struct seen seen = { 0 };

		grpc_frame_reader_init(&reader, 16);
		assert_int_equal(feed(&reader, stream, n, &seen), 0);
		assert_int_equal(grpc_frame_reader_is_partial(&reader), n > 0);
		grpc_frame_reader_done(&reader);
	}
}

static void a_message_over_the_limit_is_refused_by_its_prefix(void **state)
{
	struct grpc_frame_reader reader;
	uint8_t prefix[GRPC_FRAME_PREFIX];
	size_t used;

	(void)state;
	grpc_frame_prefix(prefix, GRPC_MESSAGE_MAX + 1);
	grpc_frame_reader_init(&reader, GRPC_MESSAGE_MAX);
	assert_int_equal(grpc_frame_reader_push(&reader, prefix, sizeof(prefix), &used), -EMSGSIZE);
	assert_int_equal(used, sizeof(prefix));
	assert_null(reader.message);
	/* It stays refused, whatever comes. */
	assert_int_equal(grpc_frame_reader_push(&reader, stream, sizeof(stream), &used), -EMSGSIZE);
	assert_int_equal(used, 0);
	assert_false(grpc_frame_reader_is_partial(&reader));
	grpc_frame_reader_done(&reader);
}

static void a_message_of_exactly_the_limit_is_taken(void **state)
{
	_cleanup_free_ uint8_t *message = calloc(1, GRPC_MESSAGE_MAX);
	struct grpc_frame_reader reader;
	uint8_t prefix[GRPC_FRAME_PREFIX];
	size_t used;

	(void)state;
	assert_non_null(message);
	grpc_frame_prefix(prefix, GRPC_MESSAGE_MAX);
	grpc_frame_reader_init(&reader, GRPC_MESSAGE_MAX);
	assert_int_equal(grpc_frame_reader_push(&reader, prefix, sizeof(prefix), &used), 0);
	assert_int_equal(grpc_frame_reader_push(&reader, message, GRPC_MESSAGE_MAX, &used), 1);
	assert_int_equal(reader.length, GRPC_MESSAGE_MAX);
	grpc_frame_reader_done(&reader);
}

static void memory_follows_what_arrives_not_what_is_announced(void **state)
{
	struct grpc_frame_reader reader;
	uint8_t prefix[GRPC_FRAME_PREFIX];
	size_t used;

	(void)state;
	grpc_frame_prefix(prefix, GRPC_MESSAGE_MAX);
	grpc_frame_reader_init(&reader, GRPC_MESSAGE_MAX);
	assert_int_equal(grpc_frame_reader_push(&reader, prefix, sizeof(prefix), &used), 0);
	assert_int_equal(grpc_frame_reader_push(&reader, stream, 1, &used), 0);
	assert_true(reader.allocated <= 4096);
	grpc_frame_reader_done(&reader);
}

static void compressed_and_unknown_flags_are_refused(void **state)
{
	static const struct {
		uint8_t flag;
		int r;
	} cases[] = { { 1, -EOPNOTSUPP }, { 2, -EBADMSG }, { 0x80, -EBADMSG }, { 0xff, -EBADMSG } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct grpc_frame_reader reader;
		const uint8_t prefix[] = { cases[i].flag, 0, 0, 0, 1, 'x' };
		size_t used;

		grpc_frame_reader_init(&reader, 16);
		assert_int_equal(grpc_frame_reader_push(&reader, prefix, sizeof(prefix), &used), cases[i].r);
		grpc_frame_reader_done(&reader);
	}
}

static void status_text_survives_the_wire(void **state)
{
	static const char text[] = "100 % of \"accel0\"\n\tist belegt: größer";
	char encoded[256], decoded[256];
	size_t n;

	(void)state;
	n = grpc_text_encode(text, encoded, sizeof(encoded));
	for (size_t i = 0; i < n; i++)
		assert_true(encoded[i] >= 0x20 && encoded[i] <= 0x7e);
	n = grpc_text_decode(encoded, n, decoded, sizeof(decoded));
	/* Control characters are not let through: they would forge log lines. */
	assert_string_equal(decoded, "100 % of \"accel0\"??ist belegt: größer");
	assert_int_equal(n, strlen(decoded));
}

static void broken_escapes_are_kept_and_long_text_is_cut(void **state)
{
	char out[8];

	(void)state;
	assert_int_equal(grpc_text_decode("%", 1, out, sizeof(out)), 1);
	assert_string_equal(out, "%");
	assert_int_equal(grpc_text_decode("%4", 2, out, sizeof(out)), 2);
	assert_int_equal(grpc_text_decode("%zz%41", 6, out, sizeof(out)), 4);
	assert_string_equal(out, "%zzA");
	assert_int_equal(grpc_text_decode("0123456789", 10, out, sizeof(out)), 7);
	assert_int_equal(grpc_text_encode("ab\n", out, 4), 2);
	assert_int_equal(grpc_text_encode("ab\n", out, 5), 5);
}

static void status_numbers_are_whole_and_known(void **state)
{
	static const char *const bad[] = { "", "-1", "17", "99", "007", "1 ", "x", "1x" };

	(void)state;
	assert_int_equal(grpc_status_parse("0", 1), GRPC_OK);
	assert_int_equal(grpc_status_parse("16", 2), GRPC_UNAUTHENTICATED);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(grpc_status_parse(bad[i], strlen(bad[i])), GRPC_UNKNOWN);
	assert_string_equal(grpc_status_name(GRPC_UNAVAILABLE), "UNAVAILABLE");
	assert_string_equal(grpc_status_name((enum grpc_status)77), "UNKNOWN");
	for (int s = 1; s <= 16; s++)
		assert_true(grpc_status_to_errno((enum grpc_status)s) < 0);
	assert_int_equal(grpc_status_to_errno(GRPC_OK), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(every_split_into_three_gives_the_same_messages),
	cmocka_unit_test(single_bytes_give_the_same_messages),
	cmocka_unit_test(an_unfinished_message_is_partial),
	cmocka_unit_test(a_message_over_the_limit_is_refused_by_its_prefix),
	cmocka_unit_test(a_message_of_exactly_the_limit_is_taken),
	cmocka_unit_test(memory_follows_what_arrives_not_what_is_announced),
	cmocka_unit_test(compressed_and_unknown_flags_are_refused),
	cmocka_unit_test(status_text_survives_the_wire),
	cmocka_unit_test(broken_escapes_are_kept_and_long_text_is_cut),
	cmocka_unit_test(status_numbers_are_whole_and_known),
};

UNIT_MAIN(tests)
