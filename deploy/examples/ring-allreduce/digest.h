/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FNV-1a of 64 bits, which tells torn, damaged or foreign bytes from the right ones. Not for use against
 * somebody who makes up bytes to fit.
 */
#ifndef RING_ALLREDUCE_DIGEST_H
#define RING_ALLREDUCE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_EMPTY UINT64_C(0xcbf29ce484222325)

/* Goes on from digest, at first DIGEST_EMPTY. */
static inline uint64_t digest_add(uint64_t digest, const void *bytes, size_t size)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < size; i++)
		digest = (digest ^ p[i]) * UINT64_C(0x100000001b3);
	return digest;
}

static inline uint64_t digest_of(const void *bytes, size_t size)
{
	return digest_add(DIGEST_EMPTY, bytes, size);
}

#endif
