/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the node. Paths are below root, a descriptor of its file system, and have a folder. */
#ifndef CNI_INSTALL_NODE_H
#define CNI_INSTALL_NODE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "install.h"

#define NODE_FILE_MAX (64u << 20)
#define NODE_MODPROBE_OURS "modprobe.ours"

/* 1: path has these bytes and this mode; 0: others, or it is not there; or -errno. */
int node_has(int root, const char *path, const char *data, size_t len, mode_t mode);

/* Makes it so, whole or not at all, with the folder above it. 0 or -errno. */
int node_write(int root, const char *path, const char *data, size_t len, mode_t mode);

/* 1: a line of the file begins with these words; 0: none does; or -errno. */
int node_says(int root, const char *path, const char *wanted);

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

/* The folder of the records, made and locked; when only looking not locked, and -EBADF when there is none. False:
 * the report says why. */
bool node_open_records(const struct install *in, int *ret, int *ret_lock, struct install_report *report);

#endif
