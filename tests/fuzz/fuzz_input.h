/* SPDX-License-Identifier: Apache-2.0 */
/* What libFuzzer hands to a fuzz_NAME.c, taken from the front piece by piece; at the end everything is 0. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

struct fuzz_input {
	const uint8_t *data;
	size_t len;
};

static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
	if (in->len == 0)
		return 0;
	in->len--;
	return *in->data++;
}

/* At most want bytes; *ret_len says how many there were. */
static inline const uint8_t *fuzz_bytes(struct fuzz_input *in, size_t want, size_t *ret_len)
{
	const uint8_t *bytes = in->data;

	*ret_len = want < in->len ? want : in->len;
	in->data += *ret_len;
	in->len -= *ret_len;
	return bytes;
}

/* What must hold; a trap is a finding. */
#define fuzz_assert(condition)            \
	do {                              \
		if (!(condition))         \
			__builtin_trap(); \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#endif
