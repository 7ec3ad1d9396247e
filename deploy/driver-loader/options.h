/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of gaudi-driver-loader. */
#ifndef DRIVER_LOADER_OPTIONS_H
#define DRIVER_LOADER_OPTIONS_H

#include <stdio.h>

#include "loader.h"
#include "node/nodeopts.h"

struct options {
	struct nodeopts node;
	const char *conf;	   /* without the slash in front */
	const char *pod_resources; /* NULL: none */
	char params[LOADER_PARAMS_MAX];
	enum loader_policy policy;
};

/* 0, or -EINVAL with why (size bytes). */
int options_parse(int argc, char **argv, struct options *ret, char *why, size_t size);

void options_help(FILE *out);

#endif
