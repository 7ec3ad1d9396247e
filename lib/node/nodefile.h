/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the node that a program changes. Paths are below root, a descriptor of its file system, and have a folder. */
#ifndef NODE_NODEFILE_H
#define NODE_NODEFILE_H

#include <stddef.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "node/report.h"

#define NODEFILE_MAX (64u << 20)

/* 1: path has these bytes and this mode; 0: others, or it is not there; or -errno. */
int nodefile_has(int root, const char *path, const char *data, size_t len, mode_t mode);

/* Makes it so, whole or not at all, with the folder above it. 0 or -errno. */
int nodefile_write(int root, const char *path, const char *data, size_t len, mode_t mode);

/* 1: a line of the file begins with these words; 0: none does; or -errno. */
int nodefile_says(int root, const char *path, const char *wanted);

/*
 * Removes a folder of ours. One that has something in it is left to who needs that, and so is a link in its place: 0 all
 * the same. 0 or -errno; -EBUSY: something is mounted there.
 */
int nodefile_remove_folder(int root, const char *path);

/* 1: a folder with nothing in it; 0: anything else, a link too, or not there; or -errno. */
int nodefile_is_empty_folder(int root, const char *path);

/* What a program puts onto a node. */
struct nodefile_ours {
	const char *path;
	bool is_shared; /* a folder that others have files in too: ours when nothing is in it */
};

/* Whether nothing of it is there. False: REPORT_MISSING says what is, or REPORT_FAILED why that cannot be told. */
bool nodefile_absent(int root, const struct nodefile_ours *ours, size_t n, struct report *report);

/* Opens the folder of the files to install; NULL: that of the program itself. */
int nodefile_open_source(const char *folder);

/*
 * The folder of the records of what was changed, made and locked; when only looking not locked, and -EBADF when there
 * is none. me is what others are told who wait. False: the report says why.
 */
bool nodefile_open_records(int root, const char *folder, const char *me, bool look, int *ret, int *ret_lock,
			   struct report *report);

#endif
