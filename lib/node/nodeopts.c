// SPDX-License-Identifier: Apache-2.0
#include "nodeopts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

#define INTERVAL_MAX 3600

const char *nodeopts_inside(const char *path)
{
	return path + strspn(path, "/");
}

bool nodeopts_looks(const struct nodeopts *options)
{
	return options->verb == VERB_STATUS || options->verb == VERB_ABSENT;
}

static int parse_verb(const char *word, enum verb *ret)
{
	if (strcmp(word, "install") == 0)
		*ret = VERB_INSTALL;
	else if (strcmp(word, "uninstall") == 0)
		*ret = VERB_UNINSTALL;
	else if (strcmp(word, "status") == 0)
		*ret = VERB_STATUS;
	else if (strcmp(word, "absent") == 0)
		*ret = VERB_ABSENT;
	else
		return -EINVAL;
	return 0;
}

/* NULL, or what the value should have been. */
static const char *take_common(int c, struct nodeopts *options)
{
	switch (c) {
	case 'r':
		options->root = optarg;
		return NULL;
	case 's':
		options->source = optarg;
		return NULL;
	case 'w':
		options->wait = true;
		return NULL;
	case 'S':
		options->wait = options->stay = true;
		return NULL;
	case 'h':
		options->help = true;
		return NULL;
	case 'i':
		return num_parse_uint(optarg, 1, INTERVAL_MAX, &options->interval) < 0
			       ? "seconds, from 1 to 3600"
			       : NULL;
	default:
		return "no such option, or its value is missing";
	}
}

static bool is_common(int c)
{
	return strchr("rswSih?", c);
}

int nodeopts_parse(int argc, char **argv, const struct option *table, const char *(*take)(int c, void *data),
		   void *data, struct nodeopts *ret, char *why, size_t size)
{
	const char *word;
	int c;

	opterr = 0;
	optind = 0; /* a test parses more than once */
	while ((c = getopt_long(argc, argv, "h", table, NULL)) >= 0) {
		const char *wanted = is_common(c) ? take_common(c, ret) : take(c, data);

		if (wanted) {
			(void)snprintf(why, size, "%s: %s", argv[optind - 1], wanted);
			return -EINVAL;
		}
	}
	word = optind < argc ? argv[optind] : NULL;
	if (!ret->help && (!word || optind + 1 < argc || parse_verb(word, &ret->verb) < 0)) {
		(void)snprintf(why, size, "%s%s: say install, uninstall, status or absent",
			       word ?: "nothing to do", word ? " is no verb" : "");
		return -EINVAL;
	}
	return 0;
}
