/* SPDX-License-Identifier: Apache-2.0 */
/* Which known word somebody may have meant. */
#ifndef DEVICE_PLUGIN_NEAREST_H
#define DEVICE_PLUGIN_NEAREST_H

#include <stddef.h>

/*
 * The one of n words that is fewest typing errors away from text (a letter
 * more, less, other, or two swapped; case does not count), or NULL when none is near
 * enough to be what was meant.
 */
const char *nearest_word(const char *text, const char *const *words, size_t n);

#endif
