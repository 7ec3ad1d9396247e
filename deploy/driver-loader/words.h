/* SPDX-License-Identifier: Apache-2.0 */
/* Sentences put together of parts; what does not fit is cut off at the end. */
#ifndef DRIVER_LOADER_WORDS_H
#define DRIVER_LOADER_WORDS_H

#include <stddef.h>

void words_append(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
