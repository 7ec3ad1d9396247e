/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written into device memory, so that every byte of it can be told
 * from every other: word i (64 bits, little-endian) of a pattern is
 * splitmix64(seed + i).
 *
 * -EFAULT: the device memory was revoked meanwhile.
 */
#ifndef P2P_COPY_PATTERN_H
#define P2P_COPY_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* size is a multiple of 8. */
int pattern_fill(void *memory, size_t size, uint64_t seed);
/* 0 and *ret_first = size: all as filled; else the offset of the first word that differs. */
int pattern_compare(const void *memory, size_t size, uint64_t seed, size_t *ret_first);
int pattern_zero(void *memory, size_t size);

#endif
