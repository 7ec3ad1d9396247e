/* SPDX-License-Identifier: Apache-2.0 */
/* What the installer remembers of what it changed; see install.h. Paths are below the folder of the records. */
#ifndef CNI_INSTALL_RECORDS_H
#define CNI_INSTALL_RECORDS_H

#include <stdbool.h>

#include "base/cleanup.h"

/* A configuration list before and after our entry came in. */
struct record {
	char *folder; /* of the list, below the root */
	char *before;
	char *after;
};

void record_done(struct record *record);

/* 0 or -errno; -ENOENT: we did not change that list, -EBADMSG: the record cannot be understood. */
int record_load(int dirfd, const char *list, struct record *ret);
int record_save(int dirfd, const char *list, const char *folder, const char *before, const char *after);
int record_remove(int dirfd, const char *list);

/* Name of any list with a record, freed by the caller; -ENOENT: none (any more). */
int record_any(int dirfd, char **ret);

#endif
