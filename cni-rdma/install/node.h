/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the node. Paths are below root, a descriptor of its file system, and have a folder. */
#ifndef CNI_INSTALL_NODE_H
#define CNI_INSTALL_NODE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "node/nodefile.h"

#define NODE_MODPROBE_OURS "modprobe.ours"

/* A configuration list, as text and read. */
struct node_list {
	char *name;
	char *path; /* below root */
	char *text;
	json_t *json;
	mode_t mode;
};

void node_list_done(struct node_list *list);

/* -EBADMSG: it is none that could be changed, and why (size bytes) says so; or -errno. */
int node_list_load(int root, const char *folder, const char *name, struct node_list *ret, char *why,
		   size_t size);

#endif
