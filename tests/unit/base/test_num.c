// SPDX-License-Identifier: Apache-2.0
#include "../unit.h"

#include <errno.h>
#include <limits.h>

#include "base/cleanup.h"
#include "base/num.h"

static void whole_numbers_are_parsed(void **state)
{
	uint64_t u = 7;
	int64_t i = 7;
	unsigned n = 7;

	(void)state;
	assert_int_equal(num_parse_u64("0", 0, UINT64_MAX, &u), 0);
	assert_int_equal(u, 0);
	assert_int_equal(num_parse_u64("18446744073709551615", 0, UINT64_MAX, &u), 0);
	assert_true(u == UINT64_MAX);
	assert_int_equal(num_parse_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &i), 0);
	assert_true(i == INT64_MIN);
	assert_int_equal(num_parse_i64("-1", -1, 5, &i), 0);
	assert_int_equal(i, -1);
	assert_int_equal(num_parse_hex("0x1da3", 0xffff, &u), 0);
	assert_int_equal(u, 0x1da3);
	assert_int_equal(num_parse_hex("FF", 0xff, &u), 0);
	assert_int_equal(u, 0xff);
	assert_int_equal(num_parse_suffix("accel10", "accel", &n), 0);
	assert_int_equal(n, 10);
	assert_int_equal(num_parse_suffix("accel0", "accel", &n), 0);
	assert_int_equal(n, 0);
}

static void junk_is_refused_and_leaves_the_result_alone(void **state)
{
	static const char *const junk[] = { "",	   " 1",  "1 ", "1\n", "+1", "-",   "--1",
					    "1x",  "0x1", "x",	"1e3", "１", "1.0", "18446744073709551616x",
					    "-0x1" };

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(junk); k++) {
		uint64_t u = 7;
		int64_t i = 7;

		assert_int_equal(num_parse_u64(junk[k], 0, UINT64_MAX, &u), -EINVAL);
		assert_int_equal(num_parse_i64(junk[k], INT64_MIN, INT64_MAX, &i), -EINVAL);
		assert_int_equal(u, 7);
		assert_int_equal(i, 7);
	}
}

static void numbers_outside_the_bounds_are_refused(void **state)
{
	uint64_t u = 7;
	int64_t i = 7;
	unsigned n = 7;
	int k = 7;

	(void)state;
	assert_int_equal(num_parse_u64("18446744073709551616", 0, UINT64_MAX, &u), -ERANGE);
	assert_int_equal(num_parse_u64("99999999999999999999999999", 0, UINT64_MAX, &u), -ERANGE);
	assert_int_equal(num_parse_u64("4", 5, 6, &u), -ERANGE);
	assert_int_equal(num_parse_u64("7", 5, 6, &u), -ERANGE);
	assert_int_equal(num_parse_i64("9223372036854775808", INT64_MIN, INT64_MAX, &i), -ERANGE);
	assert_int_equal(num_parse_i64("-9223372036854775809", INT64_MIN, INT64_MAX, &i), -ERANGE);
	assert_int_equal(num_parse_i64("-2", -1, 5, &i), -ERANGE);
	assert_int_equal(num_parse_uint("4294967296", 0, UINT_MAX, &n), -ERANGE);
	assert_int_equal(num_parse_int("2147483648", INT_MIN, INT_MAX, &k), -ERANGE);
	assert_int_equal(num_parse_hex("100", 0xff, &u), -ERANGE);
	assert_int_equal(num_parse_hex("0x", 0xff, &u), -EINVAL);
	assert_int_equal(num_parse_hex("0xg", 0xff, &u), -EINVAL);
	assert_int_equal(u, 7);
	assert_int_equal(i, 7);
}

static void suffixes_are_whole_numbers(void **state)
{
	static const char *const bad[] = { "accel",   "accel01", "accel1a",	   "accel-1",
					   "accel 1", "acce1",	 "accel_controlD0" };
	unsigned n = 7;

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(bad); k++)
		assert_int_equal(num_parse_suffix(bad[k], "accel", &n), -EINVAL);
	assert_int_equal(num_parse_suffix("accel4294967296", "accel", &n), -ERANGE);
	assert_int_equal(n, 7);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(whole_numbers_are_parsed),
	cmocka_unit_test(junk_is_refused_and_leaves_the_result_alone),
	cmocka_unit_test(numbers_outside_the_bounds_are_refused),
	cmocka_unit_test(suffixes_are_whole_numbers),
};

UNIT_MAIN(tests)
