/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of cni-rdma-install. */
#ifndef CNI_INSTALL_OPTIONS_H
#define CNI_INSTALL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum verb {
	VERB_NONE,
	VERB_INSTALL,
	VERB_UNINSTALL,
	VERB_STATUS,
};

struct options {
	enum verb verb;
	const char *root;
	const char *source; /* NULL: the folder of the program */
	const char *bin;    /* without the slash in front */
	const char *conf;
	unsigned interval; /* seconds */
	bool wait, stay, help;
};

/* 0, or -EINVAL with why (size bytes). */
int options_parse(int argc, char **argv, struct options *ret, char *why, size_t size);

void options_help(FILE *out);

#endif
