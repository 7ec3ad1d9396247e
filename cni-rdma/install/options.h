/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of cni-rdma-install. */
#ifndef CNI_INSTALL_OPTIONS_H
#define CNI_INSTALL_OPTIONS_H

#include <stddef.h>
#include <stdio.h>

#include "node/nodeopts.h"

struct options {
	struct nodeopts node;
	const char *bin; /* without the slash in front */
	const char *conf;
	bool no_chain;
};

/* 0, or -EINVAL with why (size bytes). */
int options_parse(int argc, char **argv, struct options *ret, char *why, size_t size);

void options_help(FILE *out);

#endif
