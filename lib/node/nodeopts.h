/* SPDX-License-Identifier: Apache-2.0 */
/* The command line that programs which put something onto a node have in common: PROGRAM VERB [option...]. */
#ifndef NODE_NODEOPTS_H
#define NODE_NODEOPTS_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

enum verb {
	VERB_NONE,
	VERB_INSTALL,
	VERB_UNINSTALL,
	VERB_STATUS,
	VERB_ABSENT,
};

struct nodeopts {
	enum verb verb;
	const char *root;
	const char *source; /* NULL: the folder of the program */
	unsigned interval;  /* seconds */
	bool wait, stay, help;
};

#define NODEOPTS_INIT                       \
	{                                   \
		.root = "/", .interval = 10 \
	}

/* The end of a program's table for getopt_long(). */
#define NODEOPTS_TABLE                                                                            \
	{ "root", required_argument, NULL, 'r' }, { "source", required_argument, NULL, 's' },     \
		{ "interval", required_argument, NULL, 'i' }, { "wait", no_argument, NULL, 'w' }, \
		{ "stay", no_argument, NULL, 'S' }, { "help", no_argument, NULL, 'h' },           \
	{                                                                                         \
		NULL, 0, NULL, 0                                                                  \
	}

/*
 * Parses all of it into *ret, which holds the defaults. take() gets an option of the program's own, its value in optarg,
 * and returns NULL or what the value should have been. 0, or -EINVAL with why (size bytes); a verb is there unless help is.
 */
int nodeopts_parse(int argc, char **argv, const struct option *table, const char *(*take)(int c, void *data),
		   void *data, struct nodeopts *ret, char *why, size_t size);

/* Whether a verb only looks, and so does it once. */
bool nodeopts_looks(const struct nodeopts *options);

/* A folder of the node without the slash in front, as paths below a root are written. */
const char *nodeopts_inside(const char *path);

#endif
