// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "lines/words.h"

static int parse(struct words *w, const char *line)
{
	return words_parse(w, line, strlen(line));
}

static void lines_are_taken_apart(void **state)
{
	struct words w;
	uint64_t n = 0;

	(void)state;
	assert_int_equal(parse(&w, "write qp=q0  rkey=0x1f length=64 empty="), 0);
	assert_string_equal(w.verb, "write");
	assert_string_equal(words_get(&w, "empty"), "");
	assert_null(words_get(&w, "q"));
	assert_int_equal(words_u64(&w, "rkey", 0, 255, &n), 0);
	assert_int_equal(n, 0x1f);
	assert_int_equal(words_u64(&w, "rkey", 32, 255, &n), -ERANGE);
	assert_int_equal(words_u64(&w, "length", 0, 63, &n), -ERANGE);
	assert_int_equal(words_u64(&w, "none", 0, 63, &n), -ENOENT);
	assert_int_equal(words_u64(&w, "qp", 0, 63, &n), -EINVAL);
	assert_string_equal(words_name(&w, "qp"), "q0");
}

static void bad_lines_are_refused(void **state)
{
	struct words w;
	char line[WORDS_LINE_SIZE + 8];
	size_t len;

	(void)state;
	assert_int_equal(parse(&w, ""), -EINVAL);
	assert_int_equal(parse(&w, "   "), -EINVAL);
	assert_int_equal(parse(&w, "open index"), -EINVAL);
	assert_int_equal(parse(&w, "open =1"), -EINVAL);
	assert_int_equal(parse(&w, "open a=1 a=2"), -EINVAL);
	assert_int_equal(parse(&w, "open a=1\tb=2"), -EINVAL);
	assert_int_equal(words_parse(&w, "open\0x", 6), -EINVAL);
	memset(line, 'a', sizeof(line));
	assert_int_equal(words_parse(&w, line, sizeof(line)), -EMSGSIZE);
	assert_int_equal(words_parse(&w, line, WORDS_LINE_SIZE), -EMSGSIZE);
	assert_int_equal(words_parse(&w, line, WORDS_LINE_SIZE - 1), 0);
	len = (size_t)snprintf(line, sizeof(line), "v");
	for (unsigned i = 0; i <= WORDS_MAX; i++)
		len += (size_t)snprintf(line + len, sizeof(line) - len, " k%u=v", i);
	assert_int_equal(words_parse(&w, line, len), -E2BIG);
}

static void names_are_plain(void **state)
{
	struct words w;

	(void)state;
	assert_int_equal(
		parse(&w, "x a=../b c= d=0123456789012345678901234567890 e=01234567890123456789012345678901"),
		0);
	assert_null(words_name(&w, "a"));
	assert_null(words_name(&w, "c"));
	assert_non_null(words_name(&w, "d"));
	assert_null(words_name(&w, "e"));
	assert_null(words_name(&w, "none"));
}

static void long_answers_are_cut_and_still_end(void **state)
{
	struct reply reply = { .text = "" };
	size_t len;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		reply_add(&reply, "0123456789%u", i);
	len = reply_finish(&reply);
	assert_true(len <= REPLY_SIZE);
	assert_int_equal(strlen(reply.text), len);
	assert_string_equal(reply.text + len - 4, "...\n");
	assert_int_equal(reply_fail(&reply, -EPERM, "try", "no"), -EPERM);
	assert_string_equal(reply.text, "err errno=EPERM doing=try text=no");
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(lines_are_taken_apart),
	cmocka_unit_test(bad_lines_are_refused),
	cmocka_unit_test(names_are_plain),
	cmocka_unit_test(long_answers_are_cut_and_still_end),
};

UNIT_MAIN(tests)
