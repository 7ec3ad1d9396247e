/* SPDX-License-Identifier: Apache-2.0 */
/* The options as a table, for those who read them from somewhere. */
#ifndef DEVICE_PLUGIN_OPTIONS_TABLE_H
#define DEVICE_PLUGIN_OPTIONS_TABLE_H

#include "options.h"

enum option_kind {
	OPTION_PATH,	 /* char[OPTIONS_PATH_MAX] */
	OPTION_RESOURCE, /* char[OPTIONS_RESOURCE_MAX] */
	OPTION_WORD,	 /* an enumeration whose values number the words */
	OPTION_PAIRING,	 /* pointer to one of the words */
	OPTION_NUMBER,	 /* unsigned */
	OPTION_PATTERNS, /* list */
	OPTION_ONCE,	 /* a word that may be left out */
	OPTION_FLAG,	 /* bool, without a value */
};

enum option_place {
	PLACE_FILE = 1 << 0,
	PLACE_ENVIRONMENT = 1 << 1,
	PLACE_COMMAND = 1 << 2,
	PLACE_ALL = PLACE_FILE | PLACE_ENVIRONMENT | PLACE_COMMAND,
};

struct option_def {
	const char *name;
	enum option_kind kind;
	unsigned places; /* where it may stand */
	size_t offset;
	const char *const *words; /* ends with NULL */
	unsigned min, max;
};

extern const struct option_def options_table[];
extern const size_t options_n;

/* A parse under way. */
struct options_parser {
	struct options *options;
	enum option_place place; /* where is being read */
	bool list_begun;	 /* this place has begun the list anew */
	char *why;
	size_t size;
};

/* Writes why and returns -EINVAL. */
int options_wrong(struct options_parser *parser, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The option of that name which may stand in the place that is being read, or NULL. */
const struct option_def *options_find(const struct options_parser *parser, const char *name);

/* Writes why: where, that name is unknown, and what it may have been meant to be. Returns -EINVAL. */
int options_unknown(struct options_parser *parser, const char *where, const char *name);

/*
 * Begins to read another place: what it says replaces what places before it
 * said, lists too.
 */
void options_enter(struct options_parser *parser, enum option_place place);

/* Takes a value; where names the option as the user wrote it ("--rescan"). 0 or -EINVAL. */
int options_set(struct options_parser *parser, const struct option_def *def, const char *where,
		const char *value);

#endif
