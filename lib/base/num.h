/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole numbers out of text. The text must be the number and nothing else:
 * no blanks, no sign where none belongs, no trailing characters.
 *
 * All return 0, -EINVAL (not a number of that form) or -ERANGE (outside
 * min..max), and leave *ret alone on failure.
 */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include <stdint.h>

/* Decimal digits only. */
int num_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *ret);
int num_parse_uint(const char *text, unsigned min, unsigned max, unsigned *ret);

/* Decimal digits, one '-' allowed in front: NUMA node files hold -1. */
int num_parse_i64(const char *text, int64_t min, int64_t max, int64_t *ret);
int num_parse_int(const char *text, int min, int max, int *ret);

/* Hexadecimal digits of either case, "0x" in front allowed. */
int num_parse_hex(const char *text, uint64_t max, uint64_t *ret);

/*
 * The number behind prefix: ("accel12", "accel") gives 12. A leading zero
 * ("accel012") is -EINVAL, because no kernel name has one.
 */
int num_parse_suffix(const char *text, const char *prefix, unsigned *ret);

#endif
