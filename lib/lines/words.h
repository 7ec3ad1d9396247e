/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines that our examples send each other:
 * "VERB key=value key=value\n", answered by "ok key=value ...\n" or
 * "err errno=NAME doing=WHAT text=REST OF LINE\n". Bytes in, bytes out; nothing here does
 * any input or output.
 */
#ifndef LINES_WORDS_H
#define LINES_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define WORDS_LINE_SIZE 1024
#define WORDS_MAX 24

/* A line taken apart. The pointers lie in line. */
struct words {
	char line[WORDS_LINE_SIZE];
	const char *verb;
	unsigned n;
	struct {
		const char *key, *value;
	} word[WORDS_MAX];
};

/*
 * Takes a line (without its newline) apart. -EINVAL: empty, a control character, a word that is no
 * key=value, a key twice; -EMSGSIZE: too long; -E2BIG: too many words.
 */
int words_parse(struct words *w, const char *line, size_t len);

/* NULL when there is no such key. */
const char *words_get(const struct words *w, const char *key);
/* -ENOENT when there is no such key; else as num_parse_u64(), hexadecimal after "0x". */
int words_u64(const struct words *w, const char *key, uint64_t min, uint64_t max, uint64_t *ret);
/* A name of ours: 1 to 31 letters, digits, '-', '_'. NULL otherwise. */
const char *words_name(const struct words *w, const char *key);

/* An answer being written. Cut at its end, and then marked by "...", never overrun. */
#define REPLY_SIZE 4096

struct reply {
	char text[REPLY_SIZE + 1];
	size_t len;
};

void reply_add(struct reply *reply, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Ends the line; returns its length. */
size_t reply_finish(struct reply *reply);
/* Replaces what is there by "err ..."; returns error. */
int reply_fail(struct reply *reply, int error, const char *doing, const char *text);

/* "EPERM" for -EPERM or EPERM, "0" for 0. */
const char *errno_name(int error);

#endif
