// SPDX-License-Identifier: Apache-2.0
#include "base/num.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

/* Digits of the base up to the end of text; strtoull() would take blanks, signs and wrap negative numbers. */
static int parse_digits(const char *text, unsigned base, uint64_t max, uint64_t *ret)
{
	bool too_big = false;
	uint64_t value = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		unsigned digit;

		if (*text >= '0' && *text <= '9')
			digit = (unsigned)(*text - '0');
		else if (*text >= 'a' && *text <= 'f')
			digit = (unsigned)(*text - 'a') + 10;
		else if (*text >= 'A' && *text <= 'F')
			digit = (unsigned)(*text - 'A') + 10;
		else
			return -EINVAL;
		if (digit >= base)
			return -EINVAL;
		/* Goes on after an overflow, because junk behind it is -EINVAL. */
		if (__builtin_mul_overflow(value, base, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			too_big = true;
	}
	if (too_big || value > max)
		return -ERANGE;
	*ret = value;
	return 0;
}

int num_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t value;
	int r;

	r = parse_digits(text, 10, max, &value);
	if (r < 0)
		return r;
	if (value < min)
		return -ERANGE;
	*ret = value;
	return 0;
}

int num_parse_uint(const char *text, unsigned min, unsigned max, unsigned *ret)
{
	uint64_t value;
	int r;

	r = num_parse_u64(text, min, max, &value);
	if (r < 0)
		return r;
	*ret = (unsigned)value;
	return 0;
}

int num_parse_i64(const char *text, int64_t min, int64_t max, int64_t *ret)
{
	uint64_t magnitude;
	int64_t value;
	int r;

	if (*text == '-') {
		r = parse_digits(text + 1, 10, (uint64_t)INT64_MAX + 1, &magnitude);
		if (r < 0)
			return r;
		value = magnitude > INT64_MAX ? INT64_MIN : -(int64_t)magnitude;
	} else {
		r = parse_digits(text, 10, INT64_MAX, &magnitude);
		if (r < 0)
			return r;
		value = (int64_t)magnitude;
	}
	if (value < min || value > max)
		return -ERANGE;
	*ret = value;
	return 0;
}

int num_parse_int(const char *text, int min, int max, int *ret)
{
	int64_t value;
	int r;

	r = num_parse_i64(text, min, max, &value);
	if (r < 0)
		return r;
	*ret = (int)value;
	return 0;
}

int num_parse_hex(const char *text, uint64_t max, uint64_t *ret)
{
	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		text += 2;
	return parse_digits(text, 16, max, ret);
}

int num_parse_suffix(const char *text, const char *prefix, unsigned *ret)
{
	size_t len = strlen(prefix);

	if (strncmp(text, prefix, len) != 0)
		return -EINVAL;
	text += len;
	if (text[0] == '0' && text[1])
		return -EINVAL;
	return num_parse_uint(text, 0, UINT_MAX, ret);
}
